#!/bin/sh
# Creates the role and the database for what workers count together (HIBERNAUT_DATABASE), and sets the role's password.
# The role may not read Temporal's databases. libpq's variables say who runs this: PGHOST, PGUSER, PGPASSWORD.
set -eu
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname=postgres <<'SQL'
\getenv password DATABASE_PASSWORD
SELECT 'CREATE ROLE hibernaut LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hibernaut') \gexec
ALTER ROLE hibernaut PASSWORD :'password';
SELECT 'CREATE DATABASE hibernaut OWNER hibernaut ENCODING ''UTF8'' TEMPLATE template0'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'hibernaut') \gexec
SQL
