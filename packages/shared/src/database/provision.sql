-- Roles and schemas of the services, in the database that the session is connected to. Used by `npm start` and the tests
-- (provision.ts), and by Docker's first start (psql -f this file, then one call per service). The functions live in the
-- session's pg_temp, so they disappear with the session. Repeating a call changes nothing but passwords and limits.

-- Gives one service a role that may log in, and a schema of the service's name. No other role may use that schema; the
-- role may use no other schema, may create none, and may connect to no other database whose owner has closed it to
-- PUBLIC. Without a migrator, the role owns the schema. With a migrator, that role owns the schema and everything in it,
-- and the service's role may only read and change rows; a schema that the service's role owns is handed over.
-- The default limit: two replicas with 9 connections each, twice during a rollout, and 4 for people.
-- A session can change its time-outs. They are for sessions that forget to set any.
create function pg_temp.provision_service(
  service text, role_name text, password text, connection_limit int default 40,
  migrator text default null, migrator_password text default null
) returns void language plpgsql as $$
declare
  owner text := (select pg_get_userbyid(nspowner) from pg_namespace where nspname = service);
begin
  if owner is not null and owner <> role_name and owner is distinct from migrator then
    raise exception 'schema "%" exists and belongs to role "%", not to "%"', service, owner, coalesce(migrator, role_name);
  end if;
  -- Where neither a superuser nor the database's owner calls it, PostgreSQL warns that nothing was revoked.
  if has_database_privilege('public', current_database(), 'connect')
    or has_database_privilege('public', current_database(), 'temporary') then
    execute format('revoke connect, temporary on database %I from public', current_database());
  end if;
  execute 'revoke create on schema public from public'; -- the default since PostgreSQL 15
  perform pg_temp.provision_role(service, role_name, password, connection_limit);
  execute format('alter role %I set statement_timeout = ''60s''', role_name);
  execute format('alter role %I set lock_timeout = ''10s''', role_name);
  execute format('alter role %I set idle_in_transaction_session_timeout = ''60s''', role_name);
  if migrator is null then
    execute format('create schema if not exists %I authorization %I', service, role_name);
  else
    perform pg_temp.provision_role(service, migrator, migrator_password, 8);
    execute format('create schema if not exists %I authorization %I', service, migrator);
    if owner = role_name then
      execute format('reassign owned by %I to %I', role_name, migrator);
    end if;
    execute format('grant usage on schema %I to %I', service, role_name);
    execute format('grant select, insert, update, delete on all tables in schema %I to %I', service, role_name);
    execute format('grant usage, select, update on all sequences in schema %I to %I', service, role_name);
    execute format('alter default privileges for role %I in schema %I
      grant select, insert, update, delete on tables to %I', migrator, service, role_name);
    execute format('alter default privileges for role %I in schema %I
      grant usage, select, update on sequences to %I', migrator, service, role_name);
  end if;
  execute format('revoke all on schema %I from public', service);
end
$$;

-- A role that may log in to this database, and finds the tables of the service without naming the schema.
create function pg_temp.provision_role(service text, role_name text, password text, connection_limit int)
returns void language plpgsql as $$
begin
  if not exists (select from pg_roles where rolname = role_name) then
    execute format('create role %I', role_name);
  end if;
  execute format('alter role %I with login password %L connection limit %s', role_name, password, connection_limit);
  if not (select rolsuper from pg_roles where rolname = current_user) then
    execute format('grant %I to current_user', role_name); -- needed to create a schema that the role owns
  end if;
  if not has_database_privilege(role_name, current_database(), 'connect') then
    execute format('grant connect on database %I to %I', current_database(), role_name);
  end if;
  execute format('alter role %I in database %I set search_path = %I', role_name, current_database(), service);
end
$$;

-- For a server that has no other users: nobody but superusers and the owners may connect to the databases that initdb
-- creates. Each of them is open to every role otherwise, with temporary tables and advisory locks.
create function pg_temp.close_maintenance_databases() returns void language plpgsql as $$
declare
  maintenance record;
begin
  for maintenance in
    select datname, pg_has_role(datdba, 'usage') as is_allowed from pg_database
    where datname in ('postgres', 'template1') and has_database_privilege('public', oid, 'connect')
  loop
    if maintenance.is_allowed then
      execute format('revoke connect, temporary on database %I from public', maintenance.datname);
    else
      raise warning 'every role may connect to database "%". A superuser can change it: revoke connect, temporary on database % from public',
        maintenance.datname, quote_ident(maintenance.datname);
    end if;
  end loop;
end
$$;
