-- Which database cluster this is: the number initdb gave it, and no other cluster has. Copies and
-- standbys share it; an upgrade by pg_upgrade and a restore from a dump have another.
-- Privilege: none.
-- Cost: reads the control file (8 kB); once per start of the server, never on a timer.
SELECT json_build_object('system_identifier', system_identifier::text)::text AS cluster_identity
FROM pg_control_system()
