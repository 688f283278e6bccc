import { Migration } from '@mikro-orm/migrations';

export class Migration20261130121027_initial extends Migration {

  override name = 'Migration20261130121027_initial';

  override up(): void | Promise<void> {
    this.addSql(`create table "engagement"."cached_promotions" ("promotion_id" bigint not null, "status" text not null, "start_at" timestamptz(3) not null, "end_at" timestamptz(3) not null, "updated_at" timestamptz(3) not null, "version" int not null, "verified_at" timestamptz null, "changed_at" timestamptz not null default now(), "doubted_at" timestamptz null, "lost_at" timestamptz null, primary key ("promotion_id"));`);
    this.addSql(`create index "cached_promotions_doubted_index" on "engagement"."cached_promotions" ("promotion_id") where doubted_at is not null;`);
    this.addSql(`create index "cached_promotions_lost_index" on "engagement"."cached_promotions" ("promotion_id") where lost_at is not null;`);

    this.addSql(`create table "engagement"."event_counts" ("promotion_id" bigint not null, "type" text not null, "bucket" timestamptz not null, "stripe" smallint not null default 0, "accepted" bigint not null, "first_ever" bigint not null, "first_of_day" bigint not null, primary key ("promotion_id", "type", "bucket", "stripe"));`);
    this.addSql(`create index "event_counts_stripes_index" on "engagement"."event_counts" ("bucket") where stripe <> 0;`);

    this.addSql(`create table "engagement"."event_horizon" ("id" boolean not null default true, "first_day" date not null, primary key ("id"));`);

    this.addSql(`create table "engagement"."idempotency_keys" ("scope" varchar(150) not null, "key" bytea not null, "fingerprint" bytea not null, "status" smallint not null, "answer" text not null, "headers" jsonb not null, "created_at" timestamptz not null default now(), primary key ("scope", "key"));`);
    this.addSql(`create index "idempotency_keys_created_at_index" on "engagement"."idempotency_keys" ("created_at");`);

    this.addSql(`create table "engagement"."known_subscriptions" ("subscription_id" bigint not null, "promotion_id" bigint not null, "created_at" timestamptz(3) not null, "version" int not null, "verified_at" timestamptz null, "changed_at" timestamptz not null default now(), "doubted_at" timestamptz null, "lost_at" timestamptz null, primary key ("subscription_id"));`);
    this.addSql(`create index "known_subscriptions_doubted_index" on "engagement"."known_subscriptions" ("subscription_id") where doubted_at is not null;`);
    this.addSql(`create index "known_subscriptions_lost_index" on "engagement"."known_subscriptions" ("subscription_id") where lost_at is not null;`);

    this.addSql(`create table "engagement"."known_users" ("user_id" bigint not null, "deleted" boolean not null default false, "version" int not null, "verified_at" timestamptz null, "changed_at" timestamptz not null default now(), "doubted_at" timestamptz null, "lost_at" timestamptz null, primary key ("user_id"));`);
    this.addSql(`create index "known_users_doubted_index" on "engagement"."known_users" ("user_id") where doubted_at is not null;`);
    this.addSql(`create index "known_users_lost_index" on "engagement"."known_users" ("user_id") where lost_at is not null;`);

    this.addSql(`create table "engagement"."leases" ("name" varchar(100) not null, "holder" uuid not null, "expires_at" timestamptz not null, "backend_pid" int not null, "backend_start" timestamptz not null, primary key ("name"));`);

    this.addSql(`create table "engagement"."outbox" ("id" bigserial primary key, "event_id" uuid not null, "name" varchar(100) not null, "subject" varchar(100) not null, "data" jsonb not null, "request_id" varchar(128) null, "actor" varchar(150) null, "trace_parent" varchar(55) null, "reply_to" varchar(255) null, "created_at" timestamptz not null default now(), "published_at" timestamptz null, "parked_at" timestamptz null);`);
    this.addSql(`create index "outbox_waiting_index" on "engagement"."outbox" ("id") where published_at is null and parked_at is null;`);
    this.addSql(`create index "outbox_parked_index" on "engagement"."outbox" ("name", "id") where published_at is null and parked_at is not null;`);

    this.addSql(`create table "engagement"."projection_sources" ("service" varchar(50) not null, "watermark" timestamptz null, "reconciled_at" timestamptz null, "invalidations" int not null default 0, "invalidated_at" timestamptz null, "complete_needed" boolean not null default true, "compared_at" timestamptz null, "read_to" timestamptz(6) null, "epoch" varchar(50) null, "position" bigint not null default '0', "session" varchar(50) null, "beats" int not null default 0, "corrected" int not null default 0, primary key ("service"));`);

    this.addSql(`create table "engagement"."publication" ("id" int not null, "epoch" uuid not null default gen_random_uuid(), "system_identifier" text null, "timeline" text null, primary key ("id"));`);

    this.addSql(`create table "engagement"."receipt_counts" ("promotion_id" bigint not null, "type" varchar(10) not null, "bucket" timestamptz not null, "stripe" smallint not null default 0, "received" bigint not null, "accepted" bigint not null, "duplicate" bigint not null, "late" bigint not null, "rejected" bigint not null, primary key ("promotion_id", "type", "bucket", "stripe"));`);
    this.addSql(`create index "receipt_counts_recent_index" on "engagement"."receipt_counts" ("bucket", "promotion_id");`);
    this.addSql(`create index "receipt_counts_stripes_index" on "engagement"."receipt_counts" ("bucket") where stripe <> 0;`);

    this.addSql(`create table "engagement"."removed_events" ("promotion_id" bigint not null, "count" bigint not null, primary key ("promotion_id"));`);

    this.addSql(`create table "engagement"."rollups" ("promotion_id" bigint not null, "version" int not null, "totals" jsonb not null, primary key ("promotion_id"));`);

    this.addSql(`create table "engagement"."rollup_progress" ("id" boolean not null default true, "read_to" timestamptz not null, primary key ("id"));`);

    this.addSql(`create table "engagement"."subscription_changes" ("id" bigserial primary key, "promotion_id" bigint not null, "bucket" timestamptz not null, "joined" bigint not null, "left" bigint not null);`);
    this.addSql(`create index "subscription_changes_bucket_index" on "engagement"."subscription_changes" ("promotion_id", "bucket");`);

    this.addSql(`alter table "engagement"."event_counts" add constraint "event_counts_type_check" check ("type" in ('view', 'click', 'redeem'));`);

    // Everything below is written by hand: MikroORM knows neither partitions nor triggers.
    this.addSql(`alter table "engagement"."event_counts" set (fillfactor = 50);`);
    this.addSql(`alter table "engagement"."receipt_counts" set (fillfactor = 50);`);
    this.addSql(`alter table "engagement"."subscription_changes" set (fillfactor = 50);`);
    this.addSql(`insert into "engagement"."event_horizon" ("first_day") values ('2000-01-01');`);

    // An event is identified by its client, its id and its day: a unique index must contain the key of the partitions.
    this.addSql(`create table "engagement"."events" ("client" varchar(150) not null, "event_id" varchar(64) not null, "day" date not null, "type" varchar(10) not null, "promotion_id" bigint not null, "user_id" bigint null, "visitor" varchar(64) null, "occurred_at" timestamptz(3) not null, "source" varchar(64) null, "received_at" timestamptz(3) not null default now(), primary key ("client", "event_id", "day")) partition by range ("day");`);
    // Who was seen: a digest of a user's id or of a visitor. Of the days, those on which events are still accepted.
    this.addSql(`create table "engagement"."first_seen" ("promotion_id" bigint not null, "type" varchar(10) not null, "subject" bytea not null, "days" date[] not null, primary key ("promotion_id", "type", "subject")) with (fillfactor = 90);`);

    // The states of a subscription alternate with its versions: version v is after v/2 joins, rounded up, and v/2 leaves,
    // rounded down; a row that its owner has lost is after none. The first join was when it was created; when the others were applied is the best that is known.
    this.addSql(`create function "engagement"."add_to_subscription_changes"("of" bigint, "at" timestamptz, "more_joined" bigint, "more_left" bigint) returns void language plpgsql as $$
      declare
        quarter timestamptz := date_bin('15 minutes', "at", '2000-01-01T00:00:00Z');
      begin
        if more_joined = 0 and more_left = 0 then return; end if;
        update "engagement"."subscription_changes" set joined = joined + more_joined, "left" = "left" + more_left
        where id = (select id from "engagement"."subscription_changes" where promotion_id = "of" and bucket = quarter
          limit 1 for no key update skip locked);
        if not found then
          insert into "engagement"."subscription_changes" (promotion_id, bucket, joined, "left") values ("of", quarter, more_joined, more_left);
        end if;
      end $$;`);
    this.addSql(`create function "engagement"."count_subscription_changes"() returns trigger language plpgsql as $$
      begin
        if tg_op = 'INSERT' then
          perform "engagement"."add_to_subscription_changes"(promotion_id, quarter, count, 0)
          from (select promotion_id, date_bin('15 minutes', created_at, '2000-01-01T00:00:00Z') as quarter, count(*) as count from added group by 1, 2) as first_joins;
          perform "engagement"."add_to_subscription_changes"(promotion_id, now(), sum((version + 1) / 2 - 1)::bigint, sum(version / 2)::bigint)
          from added group by promotion_id;
        else
          perform "engagement"."add_to_subscription_changes"(promotion_id, now(), sum(joined)::bigint, sum("left")::bigint)
          from (select promotion_id, (known + 1) / 2 as joined, known / 2 as "left"
                from (select promotion_id, case when lost_at is null then version else 0 end as known from added) as rows
                union all select promotion_id, -((known + 1) / 2), -(known / 2)
                from (select promotion_id, case when lost_at is null then version else 0 end as known from removed) as rows) as changes
          group by promotion_id;
        end if;
        return null;
      end $$;`);
    this.addSql(`create trigger known_subscriptions_count_insert after insert on "engagement"."known_subscriptions"
      referencing new table as added for each statement execute function "engagement"."count_subscription_changes"();`);
    this.addSql(`create trigger known_subscriptions_count_update after update on "engagement"."known_subscriptions"
      referencing old table as removed new table as added for each statement execute function "engagement"."count_subscription_changes"();`);

    // The days are made and removed by functions with the rights of the owner: the role of the service may only change rows.
    this.addSql(`create function "engagement"."add_event_day"("day" date) returns void language plpgsql security definer set search_path = "engagement" as $$
      declare
        part text := 'events_' || to_char("day", 'YYYYMMDD');
      begin
        if "day" < (select first_day from event_horizon) or to_regclass(part) is not null then return; end if;
        lock table event_horizon in share update exclusive mode; -- against other processes that make days
        if to_regclass(part) is not null then return; end if;
        -- Attached later, it needs no lock that stops readers or writers.
        execute format('create table %I (like events including all)', part);
        execute format('alter table events attach partition %I for values from (%L) to (%L)', part, "day", "day" + 1);
      end $$;`);
    // Counts the events of a day as removed, and lets no more in: before it is dropped, which takes a stronger lock.
    this.addSql(`create function "engagement"."close_event_day"("day" date) returns void language plpgsql security definer set search_path = "engagement" as $$
      declare
        part text := 'events_' || to_char("day", 'YYYYMMDD');
      begin
        if "day" < (select first_day from event_horizon for update) then return; end if;
        if to_regclass(part) is not null then
          execute format('lock table %I in share mode', part);
          execute format('insert into removed_events as held (promotion_id, count)
            select promotion_id, count(*) from %I group by promotion_id order by promotion_id
            on conflict (promotion_id) do update set count = held.count + excluded.count', part);
        end if;
        update event_horizon set first_day = "day" + 1;
      end $$;`);
    // Its lock of the parent ends all waits behind it after 50 ms; then it is tried again later.
    this.addSql(`create function "engagement"."drop_event_day"("part" text) returns void language plpgsql security definer set search_path = "engagement" set lock_timeout = '50ms' as $$
      begin
        if part !~ '^events_\\d{8}$' then raise exception 'not the table of a day'; end if;
        if to_date(right(part, 8), 'YYYYMMDD') >= (select first_day from event_horizon) then
          raise exception 'the day is not closed';
        end if;
        if exists (select from pg_inherits where inhrelid = to_regclass(part)) then
          execute format('alter table events detach partition %I', part);
        end if;
        execute format('drop table %I', part);
      end $$;`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "engagement"."cached_promotions" cascade;`);
    this.addSql(`drop table if exists "engagement"."event_counts" cascade;`);
    this.addSql(`drop table if exists "engagement"."event_horizon" cascade;`);
    this.addSql(`drop table if exists "engagement"."idempotency_keys" cascade;`);
    this.addSql(`drop table if exists "engagement"."known_subscriptions" cascade;`);
    this.addSql(`drop table if exists "engagement"."known_users" cascade;`);
    this.addSql(`drop table if exists "engagement"."leases" cascade;`);
    this.addSql(`drop table if exists "engagement"."outbox" cascade;`);
    this.addSql(`drop table if exists "engagement"."projection_sources" cascade;`);
    this.addSql(`drop table if exists "engagement"."publication" cascade;`);
    this.addSql(`drop table if exists "engagement"."receipt_counts" cascade;`);
    this.addSql(`drop table if exists "engagement"."removed_events" cascade;`);
    this.addSql(`drop table if exists "engagement"."rollups" cascade;`);
    this.addSql(`drop table if exists "engagement"."rollup_progress" cascade;`);
    this.addSql(`drop table if exists "engagement"."subscription_changes" cascade;`);
    this.addSql(`drop table if exists "engagement"."events" cascade;`);
    this.addSql(`drop table if exists "engagement"."first_seen" cascade;`);
    this.addSql(`drop function "engagement"."count_subscription_changes", "engagement"."add_to_subscription_changes", "engagement"."add_event_day", "engagement"."close_event_day", "engagement"."drop_event_day";`);
  }

}
