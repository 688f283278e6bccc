-- Gives one service a role that may log in, and a schema of the service's name that this role owns. No other role may
-- use that schema; the role may use no other schema and may create none. Used by `npm start` and the tests
-- (provision.ts), and by Docker's first start (psql -f this file, then one call per service). The function lives in the
-- session's pg_temp, so it disappears with the session. Repeating a call changes nothing but the password.
create function pg_temp.provision_service(service text, role_name text, password text) returns void language plpgsql as $$
declare
  owner text := (select pg_get_userbyid(nspowner) from pg_namespace where nspname = service);
begin
  if owner is not null and owner <> role_name then
    raise exception 'schema "%" exists and belongs to role "%", not to "%"', service, owner, role_name;
  end if;
  if not exists (select from pg_roles where rolname = role_name) then
    execute format('create role %I', role_name);
  end if;
  execute format('alter role %I with login password %L', role_name, password);
  if not (select rolsuper from pg_roles where rolname = current_user) then
    execute format('grant %I to current_user', role_name); -- needed to create a schema that the role owns
  end if;
  execute format('create schema if not exists %I authorization %I', service, role_name);
  execute format('revoke all on schema %I from public', service);
  execute format('alter role %I in database %I set search_path = %I', role_name, current_database(), service);
  execute 'revoke create on schema public from public'; -- the default since PostgreSQL 15
end
$$;
