#!/bin/sh
# Creates the databases and tables of Temporal's server in PostgreSQL, or upgrades them to the version of
# these tools.
set -eu
for each in temporal:temporal temporal_visibility:visibility; do
    tool() {
        temporal-sql-tool --plugin postgres12 --endpoint "$POSTGRES_SEEDS" --port "${DB_PORT:-5432}" \
            --user "$POSTGRES_USER" --database "${each%:*}" "$@"
    }
    tool create-database
    tool setup-schema --version 0.0
    tool update-schema --schema-name "postgresql/v12/${each#*:}"
done
