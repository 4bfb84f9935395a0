#!/bin/sh
# Makes Tollway's role and database on an empty PostgreSQL. The image runs it once, at first start.
# CREATEROLE lets the gateway give the dashboard's read-only role its password.
set -eu
psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 \
  --set password="$GATEWAY_DB_PASSWORD" <<'SQL'
CREATE ROLE tollway LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE tollway OWNER tollway;
SQL
