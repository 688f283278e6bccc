// Generated from docs/openapi.json by `npm run client`. Do not edit.
export interface paths {
    "/users": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Find the user with an email
         * @description Letter case makes no difference. In a URL, write `+` as `%2B`. Needs the scope `users:read`.
         */
        get: operations["findUsers"];
        put?: never;
        /**
         * Create a user
         * @description Email and phone are encrypted before they are stored. Needs the scope `users:write`.
         */
        post: operations["createUser"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get a user
         * @description Reads the user with this id, with the email and the phone decrypted. Needs the scope `users:read`. An end user may use it with their own id in `id`.
         */
        get: operations["getUser"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Change a user's names, email or phone
         * @description Only the fields given are changed; `"phone": null` removes the phone. Needs the scope `users:write`. An end user may use it with their own id in `id`.
         */
        patch: operations["updateUser"];
        trace?: never;
    };
    "/users/{id}/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Who changed a user, when and why
         * @description Lists every change, with the names of the fields that have other values than before. They are personal data, so no value is kept. The newest change comes first; changes before the upgrade to release 0.2.0 are not there. Send `next_cursor` back as `cursor` to read on. Needs the scope `users:read`.
         */
        get: operations["getUserHistory"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/promotions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List promotions, newest first
         * @description To read the whole list, send `next_cursor` back as `cursor` with the same filter (another is 422): every page costs the same, and a row that is added meanwhile moves no other row to another page. An end user gets the active ones, or with `status` the ended ones. Needs the scope `promotions:read`. An end user may use it and finds only what is for them.
         */
        get: operations["listPromotions"];
        put?: never;
        /**
         * Create a promotion
         * @description It starts as a draft. Needs the scope `promotions:write`.
         */
        post: operations["createPromotion"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/promotions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get a promotion
         * @description Reads the promotion with this id, whatever its status. For an end user a draft is not there. Needs the scope `promotions:read`. An end user may use it and finds only what is for them.
         */
        get: operations["getPromotion"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Edit a promotion
         * @description A draft: every field. An active promotion: name and description. An ended one: nothing. All the fields given are changed, or none. Needs the scope `promotions:write`.
         */
        patch: operations["updatePromotion"];
        trace?: never;
    };
    "/promotions/{id}/status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Activate or end a promotion
         * @description The transitions are draft to active and active to ended. The status it already has is answered with 200 and changes nothing, whatever `If-Match` says. Needs the scope `promotions:write`.
         */
        post: operations["changePromotionStatus"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/promotions/{id}/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Who changed a promotion, when and why
         * @description Lists every change, with the fields that have other values than before. The newest change comes first; changes before the upgrade to release 0.2.0 are not there. Send `next_cursor` back as `cursor` to read on. Needs the scope `promotions:read`.
         */
        get: operations["getPromotionHistory"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/subscriptions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List a user's subscriptions or a promotion's subscribers, newest first
         * @description Exactly one of `user_id` and `promotion_id` must be given. To read the whole list, send `next_cursor` back as `cursor` with the same filters (others are 422): every page costs the same, and a row that is added meanwhile moves no other row to another page. Needs the scope `subscriptions:read`. An end user may use it with their own id in `user_id`.
         */
        get: operations["listSubscriptions"];
        put?: never;
        /**
         * Subscribe a user to an active promotion
         * @description Once per user and promotion. The user is checked first, then the promotion, then whether it is a duplicate. Who has left a promotion returns by `PATCH /subscriptions/{id}/reactivate`. Needs the scope `subscriptions:write`. An end user may use it with their own id in `user_id`.
         */
        post: operations["createSubscription"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/subscriptions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get a subscription
         * @description Active or not. Needs the scope `subscriptions:read`. An end user may use it and finds only what is for them.
         */
        get: operations["getSubscription"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/subscriptions/{id}/deactivate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Leave a promotion
         * @description The subscription stays, inactive. Takes no body, or an empty object. Needs the scope `subscriptions:write`. An end user may use it and finds only what is for them.
         */
        patch: operations["deactivateSubscription"];
        trace?: never;
    };
    "/subscriptions/{id}/reactivate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Return to a promotion
         * @description Makes an inactive subscription active again, by the rules of a new one: the user exists and the promotion is active. Takes no body. Needs the scope `subscriptions:write`. An end user may use it and finds only what is for them.
         */
        patch: operations["reactivateSubscription"];
        trace?: never;
    };
    "/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Count what users have done
         * @description One event, or an array of 1 to 100. Each gets a receipt of its own, in order: one that is rejected does not fail the others, and what is accepted or a duplicate is stored. An event is known by its client, its `id` and the UTC day of `occurred_at`: send it again as it was until it has a receipt other than `retry`. An event counts if the promotion is active or ended, and it occurred from `start_at` to before `end_at`, and not after the promotion was ended early. It is late after 7 days, as the one in the example is. `Idempotency-Key` is not read. Needs the scope `events:write`.
         */
        post: operations["countEvents"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/statistics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What was counted of a promotion
         * @description Counts of events by the time at which they occurred, and of subscriptions by the time of the change: exact, and with everything that was accepted before the request. The range is extended to whole points. A promotion without events, or without existence, has zeros. Needs the scope `events:read`.
         */
        get: operations["getStatistics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/statistics/reconciliation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Whether everything that was received is counted once
         * @description Sums of all time, from one moment. They are made from the receipts, from the counts and from the stored events, and must agree at every moment. Needs the scope `events:read`.
         */
        get: operations["getReconciliation"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api-keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List API keys, newest first
         * @description All keys, also revoked and expired ones, without their secrets. To read the whole list, send `next_cursor` back as `cursor`. Needs the scope `keys:manage`.
         */
        get: operations["listApiKeys"];
        put?: never;
        /**
         * Make an API key
         * @description Its secret is in this answer, and cannot be read again, except by a repetition with the same `Idempotency-Key` and the same credential. The key ends when its maker does, or earlier: `expires_at` of the answer says when. Needs the scope `keys:manage`.
         */
        post: operations["createApiKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api-keys/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get an API key
         * @description Reads the key with this id, without its secret, also a revoked one. Needs the scope `keys:manage`.
         */
        get: operations["getApiKey"];
        put?: never;
        post?: never;
        /**
         * Revoke an API key
         * @description Every gateway refuses the key within 2 seconds. It cannot be taken back. The key stays in the list. A revoked key stays revoked, and the answer is the same. Needs the scope `keys:manage`.
         */
        delete: operations["revokeApiKey"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api-keys/{id}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Give an API key a new secret
         * @description The new secret is in this answer, and cannot be read again. The former one stays valid for the overlap, so that its program can be changed without a gap; one before that ends at once. The caller needs all scopes of the key, and a key of the caller must not end before it. Needs the scope `keys:manage`.
         */
        post: operations["rotateApiKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The gateway and the services behind it
         * @description Asks every service. Every service is ready when it answers 200. `degraded` with 200: a service has dead letters, its broker is away, or an event waits for more than 30 seconds. With 503 a service is not ready.
         */
        get: operations["getHealth"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description One broken rule. */
        FieldError: {
            /** @description The field as it was sent, with dots between levels; `body` or `request` for a rule of the whole. */
            field: string;
            /** @description The broken rule. It completes a sentence that begins with the field. */
            rule: string;
        };
        /** @description The health of the gateway and of the services behind it. */
        Health: {
            /**
             * @description Of all services together.
             * @enum {string}
             */
            status: "ok" | "degraded";
            /** @description The name of the product. */
            app: string;
            /** @description The version of the gateway. */
            version: string;
            /** @description As configured: `production`, for example. */
            environment: string;
            /** @description Name of the service → its health. */
            services: {
                [key: string]: components["schemas"]["ServiceReport"];
            };
        };
        /** @description The health of a service. A service adds members of its own. */
        ServiceReport: {
            /**
             * @description A degraded service is ready too: the reasons are beside it.
             * @enum {string}
             */
            status: "ok" | "degraded" | "not_ready" | "unreachable";
            /**
             * @description The gateway's circuit breaker for the service; open: requests are rejected at once.
             * @enum {string}
             */
            breaker: "closed" | "open" | "half_open";
        } & {
            [key: string]: unknown;
        };
        /** @description Problem details (RFC 9457). */
        Problem: {
            /**
             * Format: uri-reference
             * @description The URI of a type that a specification defines, with `quota_exceeded`. Otherwise `about:blank`: the meaning is that of the status and of `code`.
             */
            type: string;
            /** @description The title of the type; with `about:blank`, the phrase of the status. */
            title: string;
            /**
             * Format: int32
             * @description The status of the response.
             */
            status: number;
            /** @description What happened, for people. The wording may change. */
            detail: string;
            /**
             * @description The reason, for programs. A later release may add codes: treat an unknown one by its status.
             * @enum {string}
             */
            code: "validation_failed" | "malformed_json" | "invalid_transition" | "field_not_editable" | "promotion_not_active" | "filter_required" | "filters_exclusive" | "already_inactive" | "already_active" | "idempotency_key_reused" | "not_found" | "user_not_found" | "no_such_path" | "method_not_allowed" | "email_taken" | "already_subscribed" | "subscription_inactive" | "idempotency_in_progress" | "idempotent_answer_lost" | "precondition_failed" | "precondition_required" | "body_too_large" | "unsupported_media_type" | "unsupported_encoding" | "unauthenticated" | "invalid_token" | "invalid_request" | "auth_off" | "key_ended" | "key_outlives_caller" | "insufficient_scope" | "client_not_allowed" | "bad_request" | "malformed_request" | "malformed_idempotency_key" | "expectation_failed" | "misdirected_request" | "quota_exceeded" | "rate_limited" | "unavailable" | "outcome_unknown" | "dependency_unavailable" | "ids_exhausted" | "overloaded" | "upstream_unavailable" | "upstream_timeout" | "request_timeout" | "headers_too_large" | "chunk_extensions_too_large" | "internal_error";
            /** @description The status of the promotion, with `promotion_not_active` (`draft`, `ended`, or `not_found` when there is no such promotion), `invalid_transition` and `field_not_editable`. */
            promotion_status?: string;
            /**
             * Format: int64
             * @description With `already_subscribed` and `subscription_inactive`: the subscription that there is.
             */
            subscription_id?: number;
            /** @description With `quota_exceeded`: the names of the policies whose quota is used up. */
            "violated-policies"?: string[];
            /** @description The fields that break a rule. Absent when the error concerns no field. */
            errors?: components["schemas"]["FieldError"][];
            /** @description The `X-Request-Id` of the response. Give it when you report an error. */
            request_id: string;
        };
        /** @description A new user. */
        CreateUser: {
            /** @description The first name. */
            first_name: string;
            /** @description The last name. */
            last_name: string;
            /**
             * Format: idn-email
             * @description Letter case makes no difference between two addresses; it is kept before the @.
             */
            email: string;
            /** @description An international number (E.164): a plus and 7 to 15 digits. Null: none. */
            phone?: string | null;
        };
        /** @description The fields to change; a field that is absent stays. */
        UpdateUser: {
            /** @description The first name. */
            first_name?: string;
            /** @description The last name. */
            last_name?: string;
            /**
             * Format: idn-email
             * @description Letter case makes no difference between two addresses; it is kept before the @.
             */
            email?: string;
            /** @description An international number (E.164): a plus and 7 to 15 digits. Null: none. */
            phone?: string | null;
        };
        /**
         * @description A user.
         * @example {
         *       "id": 1,
         *       "full_name": "Ada Lovelace",
         *       "first_name": "Ada",
         *       "last_name": "Lovelace",
         *       "email": "ada@example.com"
         *     }
         */
        User: {
            /**
             * Format: int64
             * @description Given at the creation, and to no other user afterwards.
             */
            id: number;
            /** @description The first and the last name with a space between them. */
            full_name: string;
            /** @description The first name. */
            first_name: string;
            /** @description The last name. */
            last_name: string;
            /**
             * Format: idn-email
             * @description The address, with its domain in lower case.
             */
            email: string;
            /** @description The phone number. Absent when there is none. */
            phone?: string;
        };
        /**
         * @description The users found.
         * @example {
         *       "items": [
         *         {
         *           "id": 1,
         *           "full_name": "Ada Lovelace",
         *           "first_name": "Ada",
         *           "last_name": "Lovelace",
         *           "email": "ada@example.com"
         *         }
         *       ],
         *       "total": 1
         *     }
         */
        UserList: {
            /** @description The user, or nothing. */
            items: components["schemas"]["User"][];
            /**
             * Format: int64
             * @description Number of users found: 0 or 1.
             */
            total: number;
        };
        /**
         * @description A page of the changes of a user.
         * @example {
         *       "items": [
         *         {
         *           "version": 2,
         *           "at": "2026-05-21T16:00:00.5Z",
         *           "actor": null,
         *           "request_id": "5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d",
         *           "reason": null,
         *           "changes": [
         *             {
         *               "field": "last_name"
         *             }
         *           ]
         *         },
         *         {
         *           "version": 1,
         *           "at": "2026-05-20T09:30:00.125Z",
         *           "actor": null,
         *           "request_id": "5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d",
         *           "reason": null,
         *           "changes": [
         *             {
         *               "field": "first_name"
         *             },
         *             {
         *               "field": "last_name"
         *             },
         *             {
         *               "field": "email"
         *             }
         *           ]
         *         }
         *       ],
         *       "next_cursor": null
         *     }
         */
        UserHistory: {
            /** @description The items of the page. */
            items: components["schemas"]["UserChange"][];
            /** @description The `cursor` of the next page; null on the last page, however many items a page has. */
            next_cursor: string | null;
        };
        /** @description A change of a user. */
        UserChange: {
            /**
             * Format: int32
             * @description The version that the change has made.
             */
            version: number;
            /**
             * Format: date-time
             * @description When, in UTC: the `updated_at` of this version.
             */
            at: string;
            /** @description Who asked: an API key, a subject or a user, by an id. Null: the caller is not known. */
            actor: string | null;
            /** @description The `X-Request-Id` of the request. */
            request_id: string | null;
            /** @description The `X-Reason` of the request. */
            reason: string | null;
            /** @description What was changed. */
            changes: components["schemas"]["UserFieldChange"][];
        };
        /** @description A field of a user that was changed. */
        UserFieldChange: {
            /**
             * @description The name of the field.
             * @enum {string}
             */
            field: "first_name" | "last_name" | "email" | "phone";
        };
        /** @description A new promotion, which is a draft. */
        CreatePromotion: {
            /** @description The name, for people. */
            name: string;
            /** @description More about it. Null: nothing. */
            description?: string | null;
            /**
             * Format: date-time
             * @description When it starts, with an offset or Z.
             */
            start_at: string;
            /**
             * Format: date-time
             * @description When it ends, with an offset or Z. It must be after `start_at`.
             */
            end_at: string;
        };
        /**
         * @description A draft accepts no subscriptions, an active promotion does, and an ended one never does again.
         * @enum {string}
         */
        PromotionStatus: "draft" | "active" | "ended";
        /** @description The fields to change; a field that is absent stays. */
        UpdatePromotion: {
            /** @description The name, for people. */
            name?: string;
            /** @description More about it. Null: nothing. */
            description?: string | null;
            /**
             * Format: date-time
             * @description When it starts, with an offset or Z.
             */
            start_at?: string;
            /**
             * Format: date-time
             * @description When it ends, with an offset or Z. It must be after `start_at`.
             */
            end_at?: string;
        };
        /** @description The status to reach. */
        ChangePromotionStatus: {
            status: components["schemas"]["PromotionStatus"];
        };
        /**
         * @description A promotion.
         * @example {
         *       "id": 1,
         *       "name": "Summer Sale",
         *       "description": "Get 20% off",
         *       "start_at": "2026-06-01T00:00:00Z",
         *       "end_at": "2026-06-30T23:59:59Z",
         *       "status": "draft",
         *       "created_at": "2026-05-20T09:30:00.125Z",
         *       "updated_at": "2026-05-20T09:30:00.125Z",
         *       "created_by": null
         *     }
         */
        Promotion: {
            /**
             * Format: int64
             * @description The id of the promotion.
             */
            id: number;
            /** @description The name, for people. */
            name: string;
            /** @description More about it; null: nothing. */
            description: string | null;
            status: components["schemas"]["PromotionStatus"];
            /**
             * Format: date-time
             * @description When it starts, in UTC. The status decides, not this time.
             */
            start_at: string;
            /**
             * Format: date-time
             * @description When it ends, in UTC. The status decides, not this time.
             */
            end_at: string;
            /**
             * Format: date-time
             * @description When it was created, in UTC.
             */
            created_at: string;
            /**
             * Format: date-time
             * @description When it was last changed, in UTC.
             */
            updated_at: string;
            /**
             * Format: int64
             * @description Null: callers are keys and subjects, not users. The first entry of the history says who made it.
             */
            created_by: number | null;
        };
        /**
         * @description A page of promotions.
         * @example {
         *       "items": [
         *         {
         *           "id": 1,
         *           "name": "Summer Sale",
         *           "description": "Get 20% off",
         *           "start_at": "2026-06-01T00:00:00Z",
         *           "end_at": "2026-06-30T23:59:59Z",
         *           "status": "draft",
         *           "created_at": "2026-05-20T09:30:00.125Z",
         *           "updated_at": "2026-05-20T09:30:00.125Z",
         *           "created_by": null
         *         }
         *       ],
         *       "total": 1,
         *       "next_cursor": null
         *     }
         */
        PromotionList: {
            /** @description The items of the page. */
            items: components["schemas"]["Promotion"][];
            /**
             * Format: int64
             * @description Number of items of the whole list, with the same filters.
             */
            total: number;
            /** @description The `cursor` of the next page; null on the last page, however many items a page has. */
            next_cursor: string | null;
        };
        /**
         * @description A page of the changes of a promotion.
         * @example {
         *       "items": [
         *         {
         *           "version": 3,
         *           "at": "2026-06-01T00:00:00.25Z",
         *           "actor": null,
         *           "request_id": "5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d",
         *           "reason": null,
         *           "changes": [
         *             {
         *               "field": "status",
         *               "from": "draft",
         *               "to": "active"
         *             }
         *           ]
         *         },
         *         {
         *           "version": 2,
         *           "at": "2026-05-21T16:00:00.5Z",
         *           "actor": null,
         *           "request_id": "5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d",
         *           "reason": null,
         *           "changes": [
         *             {
         *               "field": "description",
         *               "from": "Get 20% off",
         *               "to": "Get 30% off"
         *             }
         *           ]
         *         },
         *         {
         *           "version": 1,
         *           "at": "2026-05-20T09:30:00.125Z",
         *           "actor": null,
         *           "request_id": "5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d",
         *           "reason": null,
         *           "changes": [
         *             {
         *               "field": "name",
         *               "from": null,
         *               "to": "Summer Sale"
         *             },
         *             {
         *               "field": "description",
         *               "from": null,
         *               "to": "Get 20% off"
         *             },
         *             {
         *               "field": "start_at",
         *               "from": null,
         *               "to": "2026-06-01T00:00:00Z"
         *             },
         *             {
         *               "field": "end_at",
         *               "from": null,
         *               "to": "2026-06-30T23:59:59Z"
         *             },
         *             {
         *               "field": "status",
         *               "from": null,
         *               "to": "draft"
         *             }
         *           ]
         *         }
         *       ],
         *       "next_cursor": null
         *     }
         */
        PromotionHistory: {
            /** @description The items of the page. */
            items: components["schemas"]["PromotionChange"][];
            /** @description The `cursor` of the next page; null on the last page, however many items a page has. */
            next_cursor: string | null;
        };
        /** @description A change of a promotion. */
        PromotionChange: {
            /**
             * Format: int32
             * @description The version that the change has made.
             */
            version: number;
            /**
             * Format: date-time
             * @description When, in UTC: the `updated_at` of this version.
             */
            at: string;
            /** @description Who asked: an API key, a subject or a user, by an id. Null: the caller is not known. */
            actor: string | null;
            /** @description The `X-Request-Id` of the request. */
            request_id: string | null;
            /** @description The `X-Reason` of the request. */
            reason: string | null;
            /** @description What was changed. */
            changes: components["schemas"]["PromotionFieldChange"][];
        };
        /** @description A field of a promotion that was changed. */
        PromotionFieldChange: {
            /**
             * @description The name of the field.
             * @enum {string}
             */
            field: "name" | "description" | "start_at" | "end_at" | "status";
            /** @description Its value before; null: none, as before the creation. */
            from: string | null;
            /** @description Its value afterwards; null: none. */
            to: string | null;
        };
        /** @description A new subscription. */
        CreateSubscription: {
            /**
             * Format: int64
             * @description Who subscribes.
             */
            user_id: number;
            /**
             * Format: int64
             * @description To which promotion. It must be active.
             */
            promotion_id: number;
            /** @description Anything that the caller wants to keep with it, as a JSON object, nested at most 16 deep. At most 8192 bytes in UTF-8, with its escapes as they are written and without the white space between its tokens. Null: nothing. */
            metadata?: {
                [key: string]: unknown;
            } | null;
        };
        /**
         * @description A subscription.
         * @example {
         *       "id": 1,
         *       "user_id": 1,
         *       "promotion_id": 1,
         *       "metadata": {
         *         "source": "web",
         *         "campaign": "summer2026"
         *       },
         *       "is_active": true,
         *       "created_at": "2026-06-01T08:15:00.75Z"
         *     }
         */
        Subscription: {
            /**
             * Format: int64
             * @description The id of the subscription.
             */
            id: number;
            /**
             * Format: int64
             * @description Who is subscribed.
             */
            user_id: number;
            /**
             * Format: int64
             * @description To which promotion.
             */
            promotion_id: number;
            /** @description False after the user has left the promotion. */
            is_active: boolean;
            /** @description What was sent with it, character by character; else null. */
            metadata: {
                [key: string]: unknown;
            } | null;
            /**
             * Format: date-time
             * @description When it was created, in UTC.
             */
            created_at: string;
        };
        /**
         * @description A page of subscriptions.
         * @example {
         *       "items": [
         *         {
         *           "id": 1,
         *           "user_id": 1,
         *           "promotion_id": 1,
         *           "metadata": {
         *             "source": "web",
         *             "campaign": "summer2026"
         *           },
         *           "is_active": true,
         *           "created_at": "2026-06-01T08:15:00.75Z"
         *         }
         *       ],
         *       "total": 1,
         *       "next_cursor": null
         *     }
         */
        SubscriptionList: {
            /** @description The items of the page. */
            items: components["schemas"]["Subscription"][];
            /**
             * Format: int64
             * @description Number of items of the whole list, with the same filters.
             */
            total: number;
            /** @description The `cursor` of the next page; null on the last page, however many items a page has. */
            next_cursor: string | null;
        };
        /** @description An event, or 1 to 100 of them. */
        Events: components["schemas"]["Event"] | components["schemas"]["Event"][];
        /** @description What a user has done with a promotion. */
        Event: {
            /** @description Chosen by the client, such as a UUID. A repetition has the same `id` and the same `occurred_at`, and is counted once. */
            id: string;
            /**
             * @description What the user has done.
             * @enum {string}
             */
            type: "view" | "click" | "redeem";
            /**
             * Format: int64
             * @description With which promotion.
             */
            promotion_id: number;
            /**
             * Format: int64
             * @description Who. Exactly one of `user_id` and `visitor` must be given.
             */
            user_id?: number;
            /** @description Who, if it is no user: a pseudonym, such as the value of a cookie. Never an address or a phone number. */
            visitor?: string;
            /**
             * Format: date-time
             * @description When, by the clock of the client.
             */
            occurred_at: string;
            /** @description Where, such as `web` or `newsletter`. It is kept with the event. */
            source?: string;
        };
        /**
         * @description Receipts.
         * @example {
         *       "receipts": [
         *         {
         *           "id": "0198c7a2-5a6e-7c3d-9f52-6f1d2b7c8e90",
         *           "status": "late"
         *         }
         *       ]
         *     }
         */
        ReceiptList: {
            /** @description One for each event, in order. */
            receipts: components["schemas"]["Receipt"][];
        };
        /**
         * @description What has become of an event.
         * @example {
         *       "id": "0198c7a2-5a6e-7c3d-9f52-6f1d2b7c8e90",
         *       "status": "late"
         *     }
         */
        Receipt: {
            /** @description The `id` of the event; null when it breaks a rule. */
            id: string | null;
            /**
             * @description `accepted`: counted. `duplicate`: counted before. `late`: too long ago to be counted. `rejected`: not counted, and `code`, `field` and `rule` say why. `retry`: not known yet; send it again.
             * @enum {string}
             */
            status: "accepted" | "duplicate" | "late" | "rejected" | "retry";
            /**
             * @description Of a rejected event: why.
             * @enum {string}
             */
            code?: "validation_failed" | "occurred_in_future" | "user_not_found" | "promotion_not_found" | "promotion_not_active" | "outside_promotion_dates";
            /** @description Of a rejected event: the field that breaks a rule. */
            field?: string;
            /** @description Of a rejected event: the rule. It completes "field …". */
            rule?: string;
        };
        /**
         * @description What was counted of a promotion.
         * @example {
         *       "promotion_id": 1,
         *       "from": "2026-06-02T00:00:00Z",
         *       "to": "2026-06-03T00:00:00Z",
         *       "series": [
         *         {
         *           "at": "2026-06-02T00:00:00Z",
         *           "raw": 0,
         *           "unique": null,
         *           "duplicate": 0,
         *           "late": 0,
         *           "rejected": 0,
         *           "joined": 0,
         *           "left": 0,
         *           "active": 0
         *         }
         *       ],
         *       "totals": {
         *         "raw": 0,
         *         "unique": null,
         *         "duplicate": 0,
         *         "late": 0,
         *         "rejected": 0
         *       }
         *     }
         */
        Statistics: {
            /**
             * Format: int64
             * @description The id of the promotion.
             */
            promotion_id: number;
            /**
             * Format: date-time
             * @description When the first point begins.
             */
            from: string;
            /**
             * Format: date-time
             * @description When the last point ends.
             */
            to: string;
            /** @description Every point of the range, in order, also those without an event. */
            series: {
                /**
                 * Format: date-time
                 * @description When it begins, in UTC.
                 */
                at: string;
                /**
                 * Format: int64
                 * @description The events that occurred in it.
                 */
                raw: number;
                /**
                 * Format: int64
                 * @description The users and visitors of these, for one type and days of UTC; else null: sums of them mean nothing.
                 */
                unique: number | null;
                /**
                 * Format: int64
                 * @description Receipts `duplicate` that were given in it.
                 */
                duplicate: number;
                /**
                 * Format: int64
                 * @description Receipts `late` that were given in it.
                 */
                late: number;
                /**
                 * Format: int64
                 * @description Receipts `rejected` that were given in it, of this promotion.
                 */
                rejected: number;
                /**
                 * Format: int64
                 * @description How often users have subscribed, or come back.
                 */
                joined: number;
                /**
                 * Format: int64
                 * @description How often users have left.
                 */
                left: number;
                /**
                 * Format: int64
                 * @description The active subscriptions at its end.
                 */
                active: number;
            }[];
            /** @description Of the whole range. */
            totals: {
                /**
                 * Format: int64
                 * @description The events that occurred in the range.
                 */
                raw: number;
                /**
                 * Format: int64
                 * @description The users and visitors of these, for one type and a range with all of its events; else null.
                 */
                unique: number | null;
                /**
                 * Format: int64
                 * @description Receipts `duplicate` that were given in the range.
                 */
                duplicate: number;
                /**
                 * Format: int64
                 * @description Receipts `late` that were given in the range.
                 */
                late: number;
                /**
                 * Format: int64
                 * @description Receipts `rejected` that were given in the range, of this promotion.
                 */
                rejected: number;
            };
        };
        /**
         * @description The sums of everything that was received, at one moment.
         * @example {
         *       "received": 1,
         *       "accepted": 0,
         *       "duplicate": 0,
         *       "late": 1,
         *       "rejected": 0,
         *       "counters": 0,
         *       "rows": 0,
         *       "rows_removed": 0,
         *       "is_balanced": true
         *     }
         */
        Reconciliation: {
            /**
             * Format: int64
             * @description Items that have got a receipt other than `retry`.
             */
            received: number;
            /**
             * Format: int64
             * @description Receipts `accepted`.
             */
            accepted: number;
            /**
             * Format: int64
             * @description Receipts `duplicate`.
             */
            duplicate: number;
            /**
             * Format: int64
             * @description Receipts `late`.
             */
            late: number;
            /**
             * Format: int64
             * @description Receipts `rejected`.
             */
            rejected: number;
            /**
             * Format: int64
             * @description The sum of all counts of which statistics are made.
             */
            counters: number;
            /**
             * Format: int64
             * @description The stored events, with those that were removed after their retention.
             */
            rows: number;
            /**
             * Format: int64
             * @description The events that were removed.
             */
            rows_removed: number;
            /** @description Whether received = accepted + duplicate + late + rejected, and accepted = counters = rows. */
            is_balanced: boolean;
        };
        /** @description A new API key. */
        CreateApiKey: {
            /** @description For people: which program has the key. No email, no phone number. */
            name: string;
            /** @description What the key allows. Its maker needs each of these scopes. */
            scopes: components["schemas"]["Scope"][];
            /**
             * Format: date-time
             * @description When the key ends, with an offset or Z, in the future. Null or absent: never.
             */
            expires_at?: string | null;
        };
        /**
         * @description What a caller may be allowed to do.
         * @enum {string}
         */
        Scope: "users:read" | "users:write" | "promotions:read" | "promotions:write" | "subscriptions:read" | "subscriptions:write" | "events:read" | "events:write" | "keys:manage";
        /** @description How to change the secret. */
        RotateApiKey: {
            /**
             * Format: int32
             * @description For how long the secret that the key has now stays valid, in seconds.
             * @default 3600
             */
            overlap_seconds: number;
        };
        /**
         * @description An API key with its secret.
         * @example {
         *       "id": "0199c0de-7a1b-7c3d-8e5f-0123456789ab",
         *       "name": "Shop",
         *       "hint": "ppk_7Hqd",
         *       "scopes": [
         *         "users:write",
         *         "subscriptions:write"
         *       ],
         *       "expires_at": null,
         *       "revoked_at": null,
         *       "former_expires_at": null,
         *       "last_used_at": null,
         *       "created_by": "key:0199c0de-0000-7000-8000-000000000001",
         *       "created_at": "2026-05-20T09:30:00.125Z",
         *       "updated_at": "2026-05-20T09:30:00.125Z",
         *       "secret": "ppk_7HqdExampleExampleExampleExampleExample000000000000"
         *     }
         */
        ApiKeyWithSecret: {
            /**
             * Format: uuid
             * @description The id. In logs and histories the caller is `key:<id>`.
             */
            id: string;
            /** @description For people: which program has the key. */
            name: string;
            /** @description The beginning of the secret, by which people recognize it. */
            hint: string;
            /** @description What the key allows. It never changes. */
            scopes: components["schemas"]["Scope"][];
            /**
             * Format: date-time
             * @description When the key ends; null: never.
             */
            expires_at: string | null;
            /**
             * Format: date-time
             * @description Since when the key is refused; null: it is not revoked.
             */
            revoked_at: string | null;
            /**
             * Format: date-time
             * @description Until when the secret before the last rotation is valid; null: the key was never rotated.
             */
            former_expires_at: string | null;
            /**
             * Format: date-time
             * @description When the key was used last, to a minute; null: never.
             */
            last_used_at: string | null;
            /** @description The caller who made it; null: an operator, by command. */
            created_by: string | null;
            /**
             * Format: date-time
             * @description When it was made.
             */
            created_at: string;
            /**
             * Format: date-time
             * @description When it was made, rotated or revoked last.
             */
            updated_at: string;
            /** @description What the caller sends after Bearer. It is shown only here. */
            secret: string;
        };
        /**
         * @description A page of API keys.
         * @example {
         *       "items": [
         *         {
         *           "id": "0199c0de-7a1b-7c3d-8e5f-0123456789ab",
         *           "name": "Shop",
         *           "hint": "ppk_7Hqd",
         *           "scopes": [
         *             "users:write",
         *             "subscriptions:write"
         *           ],
         *           "expires_at": null,
         *           "revoked_at": null,
         *           "former_expires_at": null,
         *           "last_used_at": null,
         *           "created_by": "key:0199c0de-0000-7000-8000-000000000001",
         *           "created_at": "2026-05-20T09:30:00.125Z",
         *           "updated_at": "2026-05-20T09:30:00.125Z"
         *         }
         *       ],
         *       "total": 1,
         *       "next_cursor": null
         *     }
         */
        ApiKeyList: {
            /** @description The items of the page. */
            items: components["schemas"]["ApiKey"][];
            /**
             * Format: int64
             * @description Number of items of the whole list, with the same filters.
             */
            total: number;
            /** @description The `cursor` of the next page; null on the last page, however many items a page has. */
            next_cursor: string | null;
        };
        /**
         * @description An API key without its secret.
         * @example {
         *       "id": "0199c0de-7a1b-7c3d-8e5f-0123456789ab",
         *       "name": "Shop",
         *       "hint": "ppk_7Hqd",
         *       "scopes": [
         *         "users:write",
         *         "subscriptions:write"
         *       ],
         *       "expires_at": null,
         *       "revoked_at": null,
         *       "former_expires_at": null,
         *       "last_used_at": null,
         *       "created_by": "key:0199c0de-0000-7000-8000-000000000001",
         *       "created_at": "2026-05-20T09:30:00.125Z",
         *       "updated_at": "2026-05-20T09:30:00.125Z"
         *     }
         */
        ApiKey: {
            /**
             * Format: uuid
             * @description The id. In logs and histories the caller is `key:<id>`.
             */
            id: string;
            /** @description For people: which program has the key. */
            name: string;
            /** @description The beginning of the secret, by which people recognize it. */
            hint: string;
            /** @description What the key allows. It never changes. */
            scopes: components["schemas"]["Scope"][];
            /**
             * Format: date-time
             * @description When the key ends; null: never.
             */
            expires_at: string | null;
            /**
             * Format: date-time
             * @description Since when the key is refused; null: it is not revoked.
             */
            revoked_at: string | null;
            /**
             * Format: date-time
             * @description Until when the secret before the last rotation is valid; null: the key was never rotated.
             */
            former_expires_at: string | null;
            /**
             * Format: date-time
             * @description When the key was used last, to a minute; null: never.
             */
            last_used_at: string | null;
            /** @description The caller who made it; null: an operator, by command. */
            created_by: string | null;
            /**
             * Format: date-time
             * @description When it was made.
             */
            created_at: string;
            /**
             * Format: date-time
             * @description When it was made, rotated or revoked last.
             */
            updated_at: string;
        };
    };
    responses: {
        /** @description Bad Request: the request is malformed */
        BadRequest: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Bad Request: the request or its `Idempotency-Key` is malformed */
        ChangeBadRequest: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Content Too Large: the body is larger than 65536 bytes, or its chunk extensions are too large */
        ContentTooLarge: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Precondition Failed: the condition in `If-Match` or `If-None-Match` is false; nothing was changed */
        PreconditionFailed: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                ETag: components["headers"]["ETag"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Unsupported Media Type: the `Content-Encoding` of the body is not supported; `Accept-Encoding` lists those that are */
        UnsupportedMediaType: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                Accept: components["headers"]["Accept"];
                "Accept-Encoding": components["headers"]["Accept-Encoding"];
                "Accept-Patch": components["headers"]["Accept-Patch"];
                "Accept-Post": components["headers"]["Accept-Post"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Too Many Requests: the caller has used up its quota, and nothing was done; `rate_limited` may come from a proxy in front */
        TooManyRequests: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                RateLimit: components["headers"]["RateLimit"];
                "RateLimit-Policy": components["headers"]["RateLimit-Policy"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Internal Server Error: an error in PromoPulse; report it with the `request_id` */
        InternalServerError: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Service Unavailable: the gateway is overloaded, or the service is unavailable */
        ReadUnavailable: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                "Promopulse-Reached-Limit": components["headers"]["Promopulse-Reached-Limit"];
                "Promopulse-Unavailable-Dependency": components["headers"]["Promopulse-Unavailable-Dependency"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Gateway Timeout: the service did not answer in time */
        ReadTimeout: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Service Unavailable: the gateway is overloaded, or the service is unavailable; with the code `outcome_unknown` the change may or may not have been made, and there is no Retry-After */
        ChangeUnavailable: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                "Promopulse-Reached-Limit": components["headers"]["Promopulse-Reached-Limit"];
                "Promopulse-Unavailable-Dependency": components["headers"]["Promopulse-Unavailable-Dependency"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Gateway Timeout: the service did not answer in time; with the code `outcome_unknown` the change may or may not have been made, and there is no Retry-After */
        ChangeTimeout: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Any other error, which no operation has of its own: 404 or 405 for a path or a method that is not there, 408 when the request arrives too slowly, 417 for an unknown `Expect`, 421 for an `https` URL on a connection without TLS, 431 when the headers are too large */
        Other: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                Allow: components["headers"]["Allow"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Unauthorized: the caller has sent no valid credential, and the installation requires one */
        Unauthorized: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Forbidden: the caller does not have the scope, or is an end user and what is asked for is not their own; or the client of the token may not act without a user */
        Forbidden: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Conflict: another user has this email, whatever its letter case; or a request with the same `Idempotency-Key` is in progress */
        UserConflict: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Not Found: there is no such user */
        UserNotFound: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Unprocessable Content: the id is invalid */
        UnprocessableContent: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Precondition Required: the request has no `If-Match`, and the service requires it (`REQUIRE_IF_MATCH`) */
        PreconditionRequired: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Conflict: a request with the same `Idempotency-Key` is in progress */
        Conflict: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Not Found: there is no such promotion */
        PromotionNotFound: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Service Unavailable: the user or the promotion's status is not known at the moment; retry after the time in Retry-After. With the code `outcome_unknown`, without Retry-After: the change may or may not have been made */
        SubscriptionServiceUnavailable: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                "Promopulse-Reached-Limit": components["headers"]["Promopulse-Reached-Limit"];
                "Promopulse-Unavailable-Dependency": components["headers"]["Promopulse-Unavailable-Dependency"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Not Found: there is no such subscription */
        SubscriptionNotFound: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Conflict: this installation asks no caller for a key; or a request with the same `Idempotency-Key` is in progress */
        KeyConflict: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Not Found: there is no such key */
        KeyNotFound: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: {
        /** @description Why the change is made: 1 to 200 characters, for the history only. ASCII; `%` and every other character is UTF-8 in percent-encoding. No email, no phone number. */
        XReason: string;
        /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
        IdempotencyKey: string;
        /**
         * @description The id of the user.
         * @example 1
         */
        UserId: number;
        /** @description Entity tags, separated by commas, or `*`. When one of them is the current one, a read is answered with 304, and a change with 412. */
        IfNoneMatch: string;
        /** @description Entity tags (the `ETag` of a response), separated by commas, or `*`. The change is made only while one of them is the current one. */
        IfMatch: string;
        /** @description Maximum number of items. A page of large items has fewer, so that a response has at most 1 MiB. */
        Limit: number;
        /** @description Where the page begins: the `next_cursor` of the page before it, read with the same filters. */
        Cursor: string;
        /** @description Number of items before the page; 0 when absent. Not together with `cursor`. Beyond 1,000, few requests at a time are answered: use `cursor`. */
        Offset: number;
        /**
         * @description The id of the promotion.
         * @example 1
         */
        PromotionId: number;
        /**
         * @description The id of the subscription.
         * @example 1
         */
        SubscriptionId: number;
        /**
         * @description The id of the key.
         * @example 0199c0de-7a1b-7c3d-8e5f-0123456789ab
         */
        KeyId: string;
    };
    requestBodies: never;
    headers: {
        /**
         * @description The id of the request, in the log of every service that had it: the one that was sent, or a new one.
         * @example 5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d
         */
        "X-Request-Id": string;
        /**
         * @description What a caller must send (RFC 6750). With 403: the scope that the operation needs.
         * @example Bearer error="insufficient_scope", scope="promotions:write"
         */
        "WWW-Authenticate": string;
        /**
         * @description The current entity tag of the resource. Absent when it has none: a list, or what does not exist.
         * @example "2"
         */
        ETag: string;
        /**
         * @description Seconds to wait before the next attempt. Absent with the code `outcome_unknown`: then look before you repeat, or repeat with the same `Idempotency-Key`. Of a 409, only with the code `idempotency_in_progress`.
         * @example 1
         */
        "Retry-After": number;
        /**
         * @description For each policy, the units that the caller has left (`r`) and seconds until there are more (`t`). With the code `quota_exceeded`, only of the policies that are used up. Every other answer may have it, too.
         * @example "burst";r=0;t=1
         */
        RateLimit: string;
        /**
         * @description The policies for each caller: `q` units at once, and then `q` units in `w` seconds. A read costs one unit, a change two. Every other answer may have it, too.
         * @example "burst";q=100;w=1, "steady";q=3000;w=60
         */
        "RateLimit-Policy": string;
        /**
         * @description With the code `method_not_allowed`: the methods of the path.
         * @example GET, HEAD
         */
        Allow: string;
        /**
         * @description With the code `unsupported_media_type`: the media types of a body.
         * @example application/json
         */
        Accept: string;
        /**
         * @description With the code `unsupported_encoding`: the content codings of a body.
         * @example gzip, deflate, br, zstd
         */
        "Accept-Encoding": string;
        /**
         * @description With the code `unsupported_media_type`, of a PATCH: the media types of its body (RFC 5789).
         * @example application/json, application/merge-patch+json
         */
        "Accept-Patch": string;
        /**
         * @description With the code `unsupported_media_type`, of a POST: the media types of its body.
         * @example application/json
         */
        "Accept-Post": string;
        /**
         * @description With the code `overloaded`: the limit of the service that is reached. Absent for one of the gateway.
         * @example deep_offset
         */
        "Promopulse-Reached-Limit": string;
        /**
         * @description With the codes `dependency_unavailable` and `ids_exhausted`: what the service needs and cannot reach.
         * @example promotions
         */
        "Promopulse-Unavailable-Dependency": string;
        /** @description `true`: this is the answer to an earlier request with the same `Idempotency-Key`. Absent: it is a new one. */
        "Idempotent-Replayed": "true";
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    findUsers: {
        parameters: {
            query: {
                /**
                 * @description The email to look for.
                 * @example ada@example.com
                 */
                email: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user with this email, or none */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "items": [
                     *         {
                     *           "id": 1,
                     *           "full_name": "Ada Lovelace",
                     *           "first_name": "Ada",
                     *           "last_name": "Lovelace",
                     *           "email": "ada@example.com"
                     *         }
                     *       ],
                     *       "total": 1
                     *     }
                     */
                    "application/json": components["schemas"]["UserList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: the email is missing or breaks its rule */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    createUser: {
        parameters: {
            query?: never;
            header?: {
                /** @description Why the change is made: 1 to 200 characters, for the history only. ASCII; `%` and every other character is UTF-8 in percent-encoding. No email, no phone number. */
                "X-Reason"?: components["parameters"]["XReason"];
                /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "first_name": "Ada",
                 *       "last_name": "Lovelace",
                 *       "email": "ada@example.com"
                 *     }
                 */
                "application/json": components["schemas"]["CreateUser"];
            };
        };
        responses: {
            /** @description The user */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description Path of the user
                     * @example /users/1
                     */
                    Location?: string;
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "1"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /users/1
                     */
                    "Content-Location"?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": 1,
                     *       "full_name": "Ada Lovelace",
                     *       "first_name": "Ada",
                     *       "last_name": "Lovelace",
                     *       "email": "ada@example.com"
                     *     }
                     */
                    "application/json": components["schemas"]["User"];
                };
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["UserConflict"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            /** @description Unsupported Media Type: the body is not JSON */
            415: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    Accept: components["headers"]["Accept"];
                    "Accept-Encoding": components["headers"]["Accept-Encoding"];
                    "Accept-Patch": components["headers"]["Accept-Patch"];
                    "Accept-Post": components["headers"]["Accept-Post"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unprocessable Content: a field is missing, unknown or breaks its rule; or the `Idempotency-Key` belongs to another request */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ChangeUnavailable"];
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    getUser: {
        parameters: {
            query?: never;
            header?: {
                /** @description Entity tags, separated by commas, or `*`. When one of them is the current one, a read is answered with 304, and a change with 412. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path: {
                /**
                 * @description The id of the user.
                 * @example 1
                 */
                id: components["parameters"]["UserId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "1"
                     */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": 1,
                     *       "full_name": "Ada Lovelace",
                     *       "first_name": "Ada",
                     *       "last_name": "Lovelace",
                     *       "email": "ada@example.com"
                     *     }
                     */
                    "application/json": components["schemas"]["User"];
                };
            };
            /** @description Not Modified: the current entity tag is in `If-None-Match`; there is no body */
            304: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "1"
                     */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["UserNotFound"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            422: components["responses"]["UnprocessableContent"];
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    updateUser: {
        parameters: {
            query?: never;
            header?: {
                /** @description Entity tags (the `ETag` of a response), separated by commas, or `*`. The change is made only while one of them is the current one. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /** @description Entity tags, separated by commas, or `*`. When one of them is the current one, a read is answered with 304, and a change with 412. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
                /** @description Why the change is made: 1 to 200 characters, for the history only. ASCII; `%` and every other character is UTF-8 in percent-encoding. No email, no phone number. */
                "X-Reason"?: components["parameters"]["XReason"];
                /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
            };
            path: {
                /**
                 * @description The id of the user.
                 * @example 1
                 */
                id: components["parameters"]["UserId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "last_name": "King"
                 *     }
                 */
                "application/json": components["schemas"]["UpdateUser"];
                /**
                 * @example {
                 *       "last_name": "King"
                 *     }
                 */
                "application/merge-patch+json": components["schemas"]["UpdateUser"];
            };
        };
        responses: {
            /** @description The user */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "2"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /users/1
                     */
                    "Content-Location"?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": 1,
                     *       "full_name": "Ada King",
                     *       "first_name": "Ada",
                     *       "last_name": "King",
                     *       "email": "ada@example.com"
                     *     }
                     */
                    "application/json": components["schemas"]["User"];
                };
            };
            /** @description The same, to a caller without the scope `users:read`; there is no body */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "2"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /users/1
                     */
                    "Content-Location"?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["UserNotFound"];
            409: components["responses"]["UserConflict"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            /** @description Unsupported Media Type: the body is not JSON */
            415: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    Accept: components["headers"]["Accept"];
                    "Accept-Encoding": components["headers"]["Accept-Encoding"];
                    "Accept-Patch": components["headers"]["Accept-Patch"];
                    "Accept-Post": components["headers"]["Accept-Post"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unprocessable Content: a field is unknown or breaks its rule; or the `Idempotency-Key` belongs to another request */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            428: components["responses"]["PreconditionRequired"];
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ChangeUnavailable"];
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    getUserHistory: {
        parameters: {
            query?: {
                /** @description Maximum number of items. A page of large items has fewer, so that a response has at most 1 MiB. */
                limit?: components["parameters"]["Limit"];
                /** @description Where the page begins: the `next_cursor` of the page before it, read with the same filters. */
                cursor?: components["parameters"]["Cursor"];
            };
            header?: never;
            path: {
                /**
                 * @description The id of the user.
                 * @example 1
                 */
                id: components["parameters"]["UserId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of changes */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "items": [
                     *         {
                     *           "version": 2,
                     *           "at": "2026-05-21T16:00:00.5Z",
                     *           "actor": null,
                     *           "request_id": "5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d",
                     *           "reason": null,
                     *           "changes": [
                     *             {
                     *               "field": "last_name"
                     *             }
                     *           ]
                     *         },
                     *         {
                     *           "version": 1,
                     *           "at": "2026-05-20T09:30:00.125Z",
                     *           "actor": null,
                     *           "request_id": "5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d",
                     *           "reason": null,
                     *           "changes": [
                     *             {
                     *               "field": "first_name"
                     *             },
                     *             {
                     *               "field": "last_name"
                     *             },
                     *             {
                     *               "field": "email"
                     *             }
                     *           ]
                     *         }
                     *       ],
                     *       "next_cursor": null
                     *     }
                     */
                    "application/json": components["schemas"]["UserHistory"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["UserNotFound"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: a parameter is invalid, unknown or repeated, or the cursor is of another list */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    listPromotions: {
        parameters: {
            query?: {
                /** @description Only promotions in this status. */
                status?: components["schemas"]["PromotionStatus"];
                /** @description Maximum number of items. A page of large items has fewer, so that a response has at most 1 MiB. */
                limit?: components["parameters"]["Limit"];
                /** @description Number of items before the page; 0 when absent. Not together with `cursor`. Beyond 1,000, few requests at a time are answered: use `cursor`. */
                offset?: components["parameters"]["Offset"];
                /** @description Where the page begins: the `next_cursor` of the page before it, read with the same filters. */
                cursor?: components["parameters"]["Cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page and the total */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "items": [
                     *         {
                     *           "id": 1,
                     *           "name": "Summer Sale",
                     *           "description": "Get 20% off",
                     *           "start_at": "2026-06-01T00:00:00Z",
                     *           "end_at": "2026-06-30T23:59:59Z",
                     *           "status": "draft",
                     *           "created_at": "2026-05-20T09:30:00.125Z",
                     *           "updated_at": "2026-05-20T09:30:00.125Z",
                     *           "created_by": null
                     *         }
                     *       ],
                     *       "total": 1,
                     *       "next_cursor": null
                     *     }
                     */
                    "application/json": components["schemas"]["PromotionList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: a parameter is unknown, repeated or breaks its rule */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    createPromotion: {
        parameters: {
            query?: never;
            header?: {
                /** @description Why the change is made: 1 to 200 characters, for the history only. ASCII; `%` and every other character is UTF-8 in percent-encoding. No email, no phone number. */
                "X-Reason"?: components["parameters"]["XReason"];
                /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "Summer Sale",
                 *       "description": "Get 20% off",
                 *       "start_at": "2026-06-01T00:00:00Z",
                 *       "end_at": "2026-06-30T23:59:59Z"
                 *     }
                 */
                "application/json": components["schemas"]["CreatePromotion"];
            };
        };
        responses: {
            /** @description The promotion */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description Path of the promotion
                     * @example /promotions/1
                     */
                    Location?: string;
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "1"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /promotions/1
                     */
                    "Content-Location"?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": 1,
                     *       "name": "Summer Sale",
                     *       "description": "Get 20% off",
                     *       "start_at": "2026-06-01T00:00:00Z",
                     *       "end_at": "2026-06-30T23:59:59Z",
                     *       "status": "draft",
                     *       "created_at": "2026-05-20T09:30:00.125Z",
                     *       "updated_at": "2026-05-20T09:30:00.125Z",
                     *       "created_by": null
                     *     }
                     */
                    "application/json": components["schemas"]["Promotion"];
                };
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            /** @description Unsupported Media Type: the body is not JSON */
            415: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    Accept: components["headers"]["Accept"];
                    "Accept-Encoding": components["headers"]["Accept-Encoding"];
                    "Accept-Patch": components["headers"]["Accept-Patch"];
                    "Accept-Post": components["headers"]["Accept-Post"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unprocessable Content: a field is missing, unknown or breaks its rule; or the `Idempotency-Key` belongs to another request */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ChangeUnavailable"];
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    getPromotion: {
        parameters: {
            query?: never;
            header?: {
                /** @description Entity tags, separated by commas, or `*`. When one of them is the current one, a read is answered with 304, and a change with 412. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path: {
                /**
                 * @description The id of the promotion.
                 * @example 1
                 */
                id: components["parameters"]["PromotionId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The promotion */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "1"
                     */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": 1,
                     *       "name": "Summer Sale",
                     *       "description": "Get 20% off",
                     *       "start_at": "2026-06-01T00:00:00Z",
                     *       "end_at": "2026-06-30T23:59:59Z",
                     *       "status": "draft",
                     *       "created_at": "2026-05-20T09:30:00.125Z",
                     *       "updated_at": "2026-05-20T09:30:00.125Z",
                     *       "created_by": null
                     *     }
                     */
                    "application/json": components["schemas"]["Promotion"];
                };
            };
            /** @description Not Modified: the current entity tag is in `If-None-Match`; there is no body */
            304: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "1"
                     */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["PromotionNotFound"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            422: components["responses"]["UnprocessableContent"];
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    updatePromotion: {
        parameters: {
            query?: never;
            header?: {
                /** @description Entity tags (the `ETag` of a response), separated by commas, or `*`. The change is made only while one of them is the current one. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /** @description Entity tags, separated by commas, or `*`. When one of them is the current one, a read is answered with 304, and a change with 412. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
                /** @description Why the change is made: 1 to 200 characters, for the history only. ASCII; `%` and every other character is UTF-8 in percent-encoding. No email, no phone number. */
                "X-Reason"?: components["parameters"]["XReason"];
                /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
            };
            path: {
                /**
                 * @description The id of the promotion.
                 * @example 1
                 */
                id: components["parameters"]["PromotionId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "description": "Get 30% off"
                 *     }
                 */
                "application/json": components["schemas"]["UpdatePromotion"];
                /**
                 * @example {
                 *       "description": "Get 30% off"
                 *     }
                 */
                "application/merge-patch+json": components["schemas"]["UpdatePromotion"];
            };
        };
        responses: {
            /** @description The promotion */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "2"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /promotions/1
                     */
                    "Content-Location"?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": 1,
                     *       "name": "Summer Sale",
                     *       "description": "Get 30% off",
                     *       "start_at": "2026-06-01T00:00:00Z",
                     *       "end_at": "2026-06-30T23:59:59Z",
                     *       "status": "draft",
                     *       "created_at": "2026-05-20T09:30:00.125Z",
                     *       "updated_at": "2026-05-21T16:00:00.5Z",
                     *       "created_by": null
                     *     }
                     */
                    "application/json": components["schemas"]["Promotion"];
                };
            };
            /** @description The same, to a caller without the scope `promotions:read`; there is no body */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "2"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /promotions/1
                     */
                    "Content-Location"?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["PromotionNotFound"];
            409: components["responses"]["Conflict"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            /** @description Unsupported Media Type: the body is not JSON */
            415: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    Accept: components["headers"]["Accept"];
                    "Accept-Encoding": components["headers"]["Accept-Encoding"];
                    "Accept-Patch": components["headers"]["Accept-Patch"];
                    "Accept-Post": components["headers"]["Accept-Post"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unprocessable Content: a field is unknown, breaks its rule or cannot be edited in this status; or the `Idempotency-Key` belongs to another request */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            428: components["responses"]["PreconditionRequired"];
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ChangeUnavailable"];
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    changePromotionStatus: {
        parameters: {
            query?: never;
            header?: {
                /** @description Entity tags (the `ETag` of a response), separated by commas, or `*`. The change is made only while one of them is the current one. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /** @description Entity tags, separated by commas, or `*`. When one of them is the current one, a read is answered with 304, and a change with 412. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
                /** @description Why the change is made: 1 to 200 characters, for the history only. ASCII; `%` and every other character is UTF-8 in percent-encoding. No email, no phone number. */
                "X-Reason"?: components["parameters"]["XReason"];
                /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
            };
            path: {
                /**
                 * @description The id of the promotion.
                 * @example 1
                 */
                id: components["parameters"]["PromotionId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "status": "active"
                 *     }
                 */
                "application/json": components["schemas"]["ChangePromotionStatus"];
            };
        };
        responses: {
            /** @description The promotion */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "3"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /promotions/1
                     */
                    "Content-Location"?: string;
                    /**
                     * @description `applied`: the subscriptions service has applied the change; `pending`: it will within seconds, or the answer is that of an earlier request. Absent when nothing changed.
                     * @example applied
                     */
                    "Promopulse-Projection"?: "applied" | "pending";
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": 1,
                     *       "name": "Summer Sale",
                     *       "description": "Get 30% off",
                     *       "start_at": "2026-06-01T00:00:00Z",
                     *       "end_at": "2026-06-30T23:59:59Z",
                     *       "status": "active",
                     *       "created_at": "2026-05-20T09:30:00.125Z",
                     *       "updated_at": "2026-06-01T00:00:00.25Z",
                     *       "created_by": null
                     *     }
                     */
                    "application/json": components["schemas"]["Promotion"];
                };
            };
            /** @description The same, to a caller without the scope `promotions:read`; there is no body */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "3"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /promotions/1
                     */
                    "Content-Location"?: string;
                    /**
                     * @description `applied`: the subscriptions service has applied the change; `pending`: it will within seconds, or the answer is that of an earlier request. Absent when nothing changed.
                     * @example applied
                     */
                    "Promopulse-Projection"?: "applied" | "pending";
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["PromotionNotFound"];
            409: components["responses"]["Conflict"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            /** @description Unsupported Media Type: the body is not JSON */
            415: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    Accept: components["headers"]["Accept"];
                    "Accept-Encoding": components["headers"]["Accept-Encoding"];
                    "Accept-Patch": components["headers"]["Accept-Patch"];
                    "Accept-Post": components["headers"]["Accept-Post"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unprocessable Content: the status is invalid, or the transition is not allowed; or the `Idempotency-Key` belongs to another request */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            428: components["responses"]["PreconditionRequired"];
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ChangeUnavailable"];
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    getPromotionHistory: {
        parameters: {
            query?: {
                /** @description Maximum number of items. A page of large items has fewer, so that a response has at most 1 MiB. */
                limit?: components["parameters"]["Limit"];
                /** @description Where the page begins: the `next_cursor` of the page before it, read with the same filters. */
                cursor?: components["parameters"]["Cursor"];
            };
            header?: never;
            path: {
                /**
                 * @description The id of the promotion.
                 * @example 1
                 */
                id: components["parameters"]["PromotionId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of changes */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "items": [
                     *         {
                     *           "version": 3,
                     *           "at": "2026-06-01T00:00:00.25Z",
                     *           "actor": null,
                     *           "request_id": "5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d",
                     *           "reason": null,
                     *           "changes": [
                     *             {
                     *               "field": "status",
                     *               "from": "draft",
                     *               "to": "active"
                     *             }
                     *           ]
                     *         },
                     *         {
                     *           "version": 2,
                     *           "at": "2026-05-21T16:00:00.5Z",
                     *           "actor": null,
                     *           "request_id": "5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d",
                     *           "reason": null,
                     *           "changes": [
                     *             {
                     *               "field": "description",
                     *               "from": "Get 20% off",
                     *               "to": "Get 30% off"
                     *             }
                     *           ]
                     *         },
                     *         {
                     *           "version": 1,
                     *           "at": "2026-05-20T09:30:00.125Z",
                     *           "actor": null,
                     *           "request_id": "5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d",
                     *           "reason": null,
                     *           "changes": [
                     *             {
                     *               "field": "name",
                     *               "from": null,
                     *               "to": "Summer Sale"
                     *             },
                     *             {
                     *               "field": "description",
                     *               "from": null,
                     *               "to": "Get 20% off"
                     *             },
                     *             {
                     *               "field": "start_at",
                     *               "from": null,
                     *               "to": "2026-06-01T00:00:00Z"
                     *             },
                     *             {
                     *               "field": "end_at",
                     *               "from": null,
                     *               "to": "2026-06-30T23:59:59Z"
                     *             },
                     *             {
                     *               "field": "status",
                     *               "from": null,
                     *               "to": "draft"
                     *             }
                     *           ]
                     *         }
                     *       ],
                     *       "next_cursor": null
                     *     }
                     */
                    "application/json": components["schemas"]["PromotionHistory"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["PromotionNotFound"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: a parameter is invalid, unknown or repeated, or the cursor is of another list */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    listSubscriptions: {
        parameters: {
            query?: {
                /**
                 * @description The subscriptions of this user. Exactly one of `user_id` and `promotion_id` must be given.
                 * @example 1
                 */
                user_id?: number;
                /** @description The subscriptions to this promotion. Exactly one of `user_id` and `promotion_id` must be given. */
                promotion_id?: number;
                /** @description Only the active ones, or only those that were left. */
                is_active?: boolean;
                /** @description Maximum number of items. A page of large items has fewer, so that a response has at most 1 MiB. */
                limit?: components["parameters"]["Limit"];
                /** @description Number of items before the page; 0 when absent. Not together with `cursor`. Beyond 1,000, few requests at a time are answered: use `cursor`. */
                offset?: components["parameters"]["Offset"];
                /** @description Where the page begins: the `next_cursor` of the page before it, read with the same filters. */
                cursor?: components["parameters"]["Cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page and the total */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "items": [
                     *         {
                     *           "id": 1,
                     *           "user_id": 1,
                     *           "promotion_id": 1,
                     *           "metadata": {
                     *             "source": "web",
                     *             "campaign": "summer2026"
                     *           },
                     *           "is_active": true,
                     *           "created_at": "2026-06-01T08:15:00.75Z"
                     *         }
                     *       ],
                     *       "total": 1,
                     *       "next_cursor": null
                     *     }
                     */
                    "application/json": components["schemas"]["SubscriptionList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: neither or both of the ids are given, or a parameter is unknown, repeated or breaks its rule */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    createSubscription: {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "user_id": 1,
                 *       "promotion_id": 1,
                 *       "metadata": {
                 *         "source": "web",
                 *         "campaign": "summer2026"
                 *       }
                 *     }
                 */
                "application/json": components["schemas"]["CreateSubscription"];
            };
        };
        responses: {
            /** @description The subscription */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description Path of the subscription
                     * @example /subscriptions/1
                     */
                    Location?: string;
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "1"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /subscriptions/1
                     */
                    "Content-Location"?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": 1,
                     *       "user_id": 1,
                     *       "promotion_id": 1,
                     *       "metadata": {
                     *         "source": "web",
                     *         "campaign": "summer2026"
                     *       },
                     *       "is_active": true,
                     *       "created_at": "2026-06-01T08:15:00.75Z"
                     *     }
                     */
                    "application/json": components["schemas"]["Subscription"];
                };
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            /** @description Not Found: there is no such user */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Conflict: the user is subscribed (`already_subscribed`), or was and has left (`subscription_inactive`); `subscription_id` names the subscription; or a request with the same `Idempotency-Key` is in progress */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Retry-After": components["headers"]["Retry-After"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            /** @description Unsupported Media Type: the body is not JSON */
            415: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    Accept: components["headers"]["Accept"];
                    "Accept-Encoding": components["headers"]["Accept-Encoding"];
                    "Accept-Patch": components["headers"]["Accept-Patch"];
                    "Accept-Post": components["headers"]["Accept-Post"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unprocessable Content: a field breaks its rule, or the promotion is not active: `promotion_status` tells what it is; or the `Idempotency-Key` belongs to another request */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["SubscriptionServiceUnavailable"];
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    getSubscription: {
        parameters: {
            query?: never;
            header?: {
                /** @description Entity tags, separated by commas, or `*`. When one of them is the current one, a read is answered with 304, and a change with 412. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path: {
                /**
                 * @description The id of the subscription.
                 * @example 1
                 */
                id: components["parameters"]["SubscriptionId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The subscription */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "1"
                     */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": 1,
                     *       "user_id": 1,
                     *       "promotion_id": 1,
                     *       "metadata": {
                     *         "source": "web",
                     *         "campaign": "summer2026"
                     *       },
                     *       "is_active": true,
                     *       "created_at": "2026-06-01T08:15:00.75Z"
                     *     }
                     */
                    "application/json": components["schemas"]["Subscription"];
                };
            };
            /** @description Not Modified: the current entity tag is in `If-None-Match`; there is no body */
            304: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "1"
                     */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["SubscriptionNotFound"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            422: components["responses"]["UnprocessableContent"];
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    deactivateSubscription: {
        parameters: {
            query?: never;
            header?: {
                /** @description Entity tags (the `ETag` of a response), separated by commas, or `*`. The change is made only while one of them is the current one. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /** @description Entity tags, separated by commas, or `*`. When one of them is the current one, a read is answered with 304, and a change with 412. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
                /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
            };
            path: {
                /**
                 * @description The id of the subscription.
                 * @example 1
                 */
                id: components["parameters"]["SubscriptionId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The subscription */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "2"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /subscriptions/1
                     */
                    "Content-Location"?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": 1,
                     *       "user_id": 1,
                     *       "promotion_id": 1,
                     *       "metadata": {
                     *         "source": "web",
                     *         "campaign": "summer2026"
                     *       },
                     *       "is_active": false,
                     *       "created_at": "2026-06-01T08:15:00.75Z"
                     *     }
                     */
                    "application/json": components["schemas"]["Subscription"];
                };
            };
            /** @description The same, to a caller without the scope `subscriptions:read`; there is no body */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "2"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /subscriptions/1
                     */
                    "Content-Location"?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["SubscriptionNotFound"];
            409: components["responses"]["Conflict"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: it is inactive already, the id is invalid, or there is a body; or the `Idempotency-Key` belongs to another request */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            428: components["responses"]["PreconditionRequired"];
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ChangeUnavailable"];
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    reactivateSubscription: {
        parameters: {
            query?: never;
            header?: {
                /** @description Entity tags (the `ETag` of a response), separated by commas, or `*`. The change is made only while one of them is the current one. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /** @description Entity tags, separated by commas, or `*`. When one of them is the current one, a read is answered with 304, and a change with 412. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
                /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
            };
            path: {
                /**
                 * @description The id of the subscription.
                 * @example 1
                 */
                id: components["parameters"]["SubscriptionId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The subscription */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "3"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /subscriptions/1
                     */
                    "Content-Location"?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": 1,
                     *       "user_id": 1,
                     *       "promotion_id": 1,
                     *       "metadata": {
                     *         "source": "web",
                     *         "campaign": "summer2026"
                     *       },
                     *       "is_active": true,
                     *       "created_at": "2026-06-01T08:15:00.75Z"
                     *     }
                     */
                    "application/json": components["schemas"]["Subscription"];
                };
            };
            /** @description The same, to a caller without the scope `subscriptions:read`; there is no body */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description The entity tag of this version. A change with `If-Match` is made only while it is the current one.
                     * @example "3"
                     */
                    ETag?: string;
                    /**
                     * @description Path of the resource that the body shows, and that `ETag` is of.
                     * @example /subscriptions/1
                     */
                    "Content-Location"?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            /** @description Not Found: there is no such subscription, or its user does not exist any more */
            404: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            409: components["responses"]["Conflict"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: it is active already, the promotion is not active (`promotion_status` tells what it is), or the id is invalid; or the `Idempotency-Key` belongs to another request */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            428: components["responses"]["PreconditionRequired"];
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["SubscriptionServiceUnavailable"];
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    countEvents: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example [
                 *       {
                 *         "id": "0198c7a2-5a6e-7c3d-9f52-6f1d2b7c8e90",
                 *         "type": "click",
                 *         "promotion_id": 1,
                 *         "user_id": 1,
                 *         "occurred_at": "2026-06-02T08:15:00.5Z",
                 *         "source": "web"
                 *       }
                 *     ]
                 */
                "application/json": components["schemas"]["Events"];
            };
        };
        responses: {
            /** @description The receipts. With a `retry` among them, Retry-After says when to send these events again */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    /** @description Seconds, if a receipt is `retry`. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "receipts": [
                     *         {
                     *           "id": "0198c7a2-5a6e-7c3d-9f52-6f1d2b7c8e90",
                     *           "status": "late"
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["ReceiptList"];
                };
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            /** @description Unsupported Media Type: the body is not JSON */
            415: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    Accept: components["headers"]["Accept"];
                    "Accept-Encoding": components["headers"]["Accept-Encoding"];
                    "Accept-Patch": components["headers"]["Accept-Patch"];
                    "Accept-Post": components["headers"]["Accept-Post"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unprocessable Content: the body is neither an event nor an array of 1 to 100 */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            /** @description Service Unavailable: the database is unavailable; nothing is stored, or it is not known whether it is: send the events again */
            503: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Retry-After": components["headers"]["Retry-After"];
                    "Promopulse-Reached-Limit": components["headers"]["Promopulse-Reached-Limit"];
                    "Promopulse-Unavailable-Dependency": components["headers"]["Promopulse-Unavailable-Dependency"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    getStatistics: {
        parameters: {
            query: {
                /**
                 * @description Of which promotion.
                 * @example 1
                 */
                promotion_id: number;
                /** @description Of one type. Without it, `raw` is of all types together, and `unique` is null. */
                type?: "view" | "click" | "redeem";
                /**
                 * @description From this time on. By default 7 days before `to`.
                 * @example 2026-06-02T00:00:00Z
                 */
                from?: string;
                /**
                 * @description Until before this time. By default now.
                 * @example 2026-06-03T00:00:00Z
                 */
                to?: string;
                /** @description The length of a point. A series has at most 10000 points. */
                granularity?: "15m" | "hour" | "day";
                /** @description In which a day begins at midnight: a name of the IANA database. A day of it may have 23 or 25 hours. */
                time_zone?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A series and its totals */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "promotion_id": 1,
                     *       "from": "2026-06-02T00:00:00Z",
                     *       "to": "2026-06-03T00:00:00Z",
                     *       "series": [
                     *         {
                     *           "at": "2026-06-02T00:00:00Z",
                     *           "raw": 0,
                     *           "unique": null,
                     *           "duplicate": 0,
                     *           "late": 0,
                     *           "rejected": 0,
                     *           "joined": 0,
                     *           "left": 0,
                     *           "active": 0
                     *         }
                     *       ],
                     *       "totals": {
                     *         "raw": 0,
                     *         "unique": null,
                     *         "duplicate": 0,
                     *         "late": 0,
                     *         "rejected": 0
                     *       }
                     *     }
                     */
                    "application/json": components["schemas"]["Statistics"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: a parameter is missing, unknown, repeated or breaks its rule */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    getReconciliation: {
        parameters: {
            query?: {
                /** @description Of one promotion. Without it: of all, with the receipts of no known promotion. */
                promotion_id?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The sums */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "received": 1,
                     *       "accepted": 0,
                     *       "duplicate": 0,
                     *       "late": 1,
                     *       "rejected": 0,
                     *       "counters": 0,
                     *       "rows": 0,
                     *       "rows_removed": 0,
                     *       "is_balanced": true
                     *     }
                     */
                    "application/json": components["schemas"]["Reconciliation"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: a parameter is missing, unknown, repeated or breaks its rule */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    listApiKeys: {
        parameters: {
            query?: {
                /** @description Maximum number of items. A page of large items has fewer, so that a response has at most 1 MiB. */
                limit?: components["parameters"]["Limit"];
                /** @description Number of items before the page; 0 when absent. Not together with `cursor`. Beyond 1,000, few requests at a time are answered: use `cursor`. */
                offset?: components["parameters"]["Offset"];
                /** @description Where the page begins: the `next_cursor` of the page before it, read with the same filters. */
                cursor?: components["parameters"]["Cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of keys */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "items": [
                     *         {
                     *           "id": "0199c0de-7a1b-7c3d-8e5f-0123456789ab",
                     *           "name": "Shop",
                     *           "hint": "ppk_7Hqd",
                     *           "scopes": [
                     *             "users:write",
                     *             "subscriptions:write"
                     *           ],
                     *           "expires_at": null,
                     *           "revoked_at": null,
                     *           "former_expires_at": null,
                     *           "last_used_at": null,
                     *           "created_by": "key:0199c0de-0000-7000-8000-000000000001",
                     *           "created_at": "2026-05-20T09:30:00.125Z",
                     *           "updated_at": "2026-05-20T09:30:00.125Z"
                     *         }
                     *       ],
                     *       "total": 1,
                     *       "next_cursor": null
                     *     }
                     */
                    "application/json": components["schemas"]["ApiKeyList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            /** @description Conflict: this installation asks no caller for a key */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Retry-After": components["headers"]["Retry-After"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: a parameter is unknown, repeated or breaks its rule */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    createApiKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "Shop",
                 *       "scopes": [
                 *         "users:write",
                 *         "subscriptions:write"
                 *       ],
                 *       "expires_at": null
                 *     }
                 */
                "application/json": components["schemas"]["CreateApiKey"];
            };
        };
        responses: {
            /** @description The key, with its secret */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    /**
                     * @description Path of the key
                     * @example /api-keys/0199c0de-7a1b-7c3d-8e5f-0123456789ab
                     */
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": "0199c0de-7a1b-7c3d-8e5f-0123456789ab",
                     *       "name": "Shop",
                     *       "hint": "ppk_7Hqd",
                     *       "scopes": [
                     *         "users:write",
                     *         "subscriptions:write"
                     *       ],
                     *       "expires_at": null,
                     *       "revoked_at": null,
                     *       "former_expires_at": null,
                     *       "last_used_at": null,
                     *       "created_by": "key:0199c0de-0000-7000-8000-000000000001",
                     *       "created_at": "2026-05-20T09:30:00.125Z",
                     *       "updated_at": "2026-05-20T09:30:00.125Z",
                     *       "secret": "ppk_7HqdExampleExampleExampleExampleExample000000000000"
                     *     }
                     */
                    "application/json": components["schemas"]["ApiKeyWithSecret"];
                };
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["KeyConflict"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            /** @description Unsupported Media Type: the body is not JSON */
            415: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    Accept: components["headers"]["Accept"];
                    "Accept-Encoding": components["headers"]["Accept-Encoding"];
                    "Accept-Patch": components["headers"]["Accept-Patch"];
                    "Accept-Post": components["headers"]["Accept-Post"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unprocessable Content: a field is missing, unknown or breaks its rule; or the `Idempotency-Key` belongs to another request */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ChangeUnavailable"];
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    getApiKey: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description The id of the key.
                 * @example 0199c0de-7a1b-7c3d-8e5f-0123456789ab
                 */
                id: components["parameters"]["KeyId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The key */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": "0199c0de-7a1b-7c3d-8e5f-0123456789ab",
                     *       "name": "Shop",
                     *       "hint": "ppk_7Hqd",
                     *       "scopes": [
                     *         "users:write",
                     *         "subscriptions:write"
                     *       ],
                     *       "expires_at": null,
                     *       "revoked_at": null,
                     *       "former_expires_at": null,
                     *       "last_used_at": null,
                     *       "created_by": "key:0199c0de-0000-7000-8000-000000000001",
                     *       "created_at": "2026-05-20T09:30:00.125Z",
                     *       "updated_at": "2026-05-20T09:30:00.125Z"
                     *     }
                     */
                    "application/json": components["schemas"]["ApiKey"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["KeyNotFound"];
            /** @description Conflict: this installation asks no caller for a key */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Retry-After": components["headers"]["Retry-After"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: the id is invalid */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ReadUnavailable"];
            504: components["responses"]["ReadTimeout"];
            default: components["responses"]["Other"];
        };
    };
    revokeApiKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
            };
            path: {
                /**
                 * @description The id of the key.
                 * @example 0199c0de-7a1b-7c3d-8e5f-0123456789ab
                 */
                id: components["parameters"]["KeyId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The key is revoked */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["KeyNotFound"];
            409: components["responses"]["KeyConflict"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            /** @description Unprocessable Content: the id is invalid; or the `Idempotency-Key` belongs to another request */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ChangeUnavailable"];
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    rotateApiKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes the request safe to repeat: it changes something once, and a repetition gets the first answer. A new random text for each change, such as a UUID, with or without double quotes. It is kept for 24 hours. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
            };
            path: {
                /**
                 * @description The id of the key.
                 * @example 0199c0de-7a1b-7c3d-8e5f-0123456789ab
                 */
                id: components["parameters"]["KeyId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "overlap_seconds": 3600
                 *     }
                 */
                "application/json": components["schemas"]["RotateApiKey"];
            };
        };
        responses: {
            /** @description The key, with its new secret */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Idempotent-Replayed": components["headers"]["Idempotent-Replayed"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": "0199c0de-7a1b-7c3d-8e5f-0123456789ab",
                     *       "name": "Shop",
                     *       "hint": "ppk_7Hqd",
                     *       "scopes": [
                     *         "users:write",
                     *         "subscriptions:write"
                     *       ],
                     *       "expires_at": null,
                     *       "revoked_at": null,
                     *       "former_expires_at": null,
                     *       "last_used_at": null,
                     *       "created_by": "key:0199c0de-0000-7000-8000-000000000001",
                     *       "created_at": "2026-05-20T09:30:00.125Z",
                     *       "updated_at": "2026-05-20T09:30:00.125Z",
                     *       "secret": "ppk_7HqdExampleExampleExampleExampleExample000000000000"
                     *     }
                     */
                    "application/json": components["schemas"]["ApiKeyWithSecret"];
                };
            };
            400: components["responses"]["ChangeBadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description Forbidden: the caller does not have the scope, or is an end user and what is asked for is not their own; or the client of the token may not act without a user */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "WWW-Authenticate": components["headers"]["WWW-Authenticate"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            404: components["responses"]["KeyNotFound"];
            /** @description Conflict: the key is revoked or has expired, or this installation asks no caller for a key; or a request with the same `Idempotency-Key` is in progress */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Retry-After": components["headers"]["Retry-After"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            /** @description Unsupported Media Type: the body is not JSON */
            415: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    Accept: components["headers"]["Accept"];
                    "Accept-Encoding": components["headers"]["Accept-Encoding"];
                    "Accept-Patch": components["headers"]["Accept-Patch"];
                    "Accept-Post": components["headers"]["Accept-Post"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unprocessable Content: the id or a field breaks its rule; or the `Idempotency-Key` belongs to another request */
            422: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            503: components["responses"]["ChangeUnavailable"];
            504: components["responses"]["ChangeTimeout"];
            default: components["responses"]["Other"];
        };
    };
    getHealth: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Every service is ready */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "status": "ok",
                     *       "app": "PromoPulse",
                     *       "version": "0.2.0",
                     *       "environment": "production",
                     *       "services": {
                     *         "users": {
                     *           "breaker": "closed",
                     *           "version": "0.2.0",
                     *           "status": "ok"
                     *         }
                     *       }
                     *     }
                     */
                    "application/json": components["schemas"]["Health"];
                };
            };
            400: components["responses"]["BadRequest"];
            429: components["responses"]["TooManyRequests"];
            500: components["responses"]["InternalServerError"];
            /** @description Service Unavailable: a service is not ready, or the gateway is overloaded */
            503: {
                headers: {
                    "X-Request-Id": components["headers"]["X-Request-Id"];
                    "Retry-After": components["headers"]["Retry-After"];
                    "Promopulse-Reached-Limit": components["headers"]["Promopulse-Reached-Limit"];
                    "Promopulse-Unavailable-Dependency": components["headers"]["Promopulse-Unavailable-Dependency"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "status": "degraded",
                     *       "app": "PromoPulse",
                     *       "version": "0.2.0",
                     *       "environment": "production",
                     *       "services": {
                     *         "users": {
                     *           "breaker": "closed",
                     *           "version": "0.2.0",
                     *           "status": "not_ready"
                     *         }
                     *       }
                     *     }
                     */
                    "application/json": components["schemas"]["Health"];
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            default: components["responses"]["Other"];
        };
    };
}
