#!/usr/bin/env bash
# Gives every service its own role and schema, by the rules of packages/shared/src/provision.sql. Runs once, when the
# data volume is new. Run again by hand it changes nothing but the passwords; so, to change them, set them in .env and
#   docker compose up -d --wait postgres
#   docker compose exec postgres bash /docker-entrypoint-initdb.d/10-services.sh
#   docker compose up -d --wait
set -euo pipefail

# \getenv keeps the passwords off the command line, where every process of the host could read them.
psql --host /var/run/postgresql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
set client_min_messages = warning;
\getenv users_password USERS_DB_PASSWORD
\getenv promotions_password PROMOTIONS_DB_PASSWORD
\getenv subscriptions_password SUBSCRIPTIONS_DB_PASSWORD
\i /provision.sql
\o /dev/null
select pg_temp.provision_service('users', 'promopulse_users', :'users_password');
select pg_temp.provision_service('promotions', 'promopulse_promotions', :'promotions_password');
select pg_temp.provision_service('subscriptions', 'promopulse_subscriptions', :'subscriptions_password');
SQL
