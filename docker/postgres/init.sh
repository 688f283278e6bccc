#!/usr/bin/env bash
# Creates a role and a schema for the gateway and for every service of the list (packages/shared/src/contracts/services.ts)
# by the rules of packages/shared/src/database/provision.sql. The password of a role is <SERVICE>_DB_PASSWORD. PostgreSQL's entrypoint
# runs this script once, when the data volume is new. Another run changes only the passwords. To change them, set them
# in .env, then:
#   docker compose up -d --wait postgres
#   docker compose exec postgres bash /docker-entrypoint-initdb.d/10-services.sh
#   docker compose up -d --wait
set -euo pipefail

services=$(sed -n "s/^export const services = \[\(.*\)\] as const;$/\1/p" /services.ts | tr -d "',")
[ -n "$services" ] || { echo "init.sh: /services.ts has no list of services" >&2; exit 1; }

# \getenv keeps the passwords out of the command line, which every process of the host can read.
{
  echo 'set client_min_messages = warning;'
  echo '\i /provision.sql'
  echo '\o /dev/null'
  for service in gateway $services; do
    variable="${service^^}_DB_PASSWORD"
    export "$variable=${!variable:-development-only}"
    echo "\\getenv password $variable"
    echo "select pg_temp.provision_service('$service', 'promopulse_$service', :'password');"
  done
  echo 'select pg_temp.close_maintenance_databases();'
} | psql --host /var/run/postgresql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --no-psqlrc --quiet --set ON_ERROR_STOP=1
