-- Who may do what: roles of principals and groups, per namespace.

CREATE TABLE waymark.auth_grant (
    namespace_id integer NOT NULL REFERENCES waymark.namespace (id),
    -- UUIDv7: a list by key is a list by age.
    grant_id uuid NOT NULL,
    -- 1: "issuer#subject" of a principal; 2: "issuer#group".
    member_kind smallint NOT NULL CHECK (member_kind IN (1, 2)),
    member text NOT NULL CHECK (member <> ''),
    -- waymark.auth.v1.Role: 1 viewer, 2 operator, 3 worker, 4 admin.
    role smallint NOT NULL CHECK (role BETWEEN 1 AND 4),
    creator text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (namespace_id, grant_id),
    -- A role is granted once; this is also how a caller's roles are found.
    UNIQUE (namespace_id, member_kind, member, role)
);

-- What an empty `namespace` in a request means.
INSERT INTO waymark.namespace (name) VALUES ('default') ON CONFLICT (name) DO NOTHING;
