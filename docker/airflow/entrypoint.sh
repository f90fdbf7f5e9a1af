#!/bin/sh
# Secrets come as files: they are turned into what Airflow and Garam read, for this process only.
set -eu
read_secret() { cat "/run/secrets/$1"; }
if [ -f /run/secrets/postgres_password ]; then
    password=$(read_secret postgres_password)
    export GARAM_DATABASE_URL="postgresql://garam:${password}@postgres:5432/garam"
    export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql+psycopg2://garam:${password}@postgres:5432/airflow"
fi
[ ! -f /run/secrets/airflow_fernet_key ] || AIRFLOW__CORE__FERNET_KEY=$(read_secret airflow_fernet_key) && export AIRFLOW__CORE__FERNET_KEY
[ ! -f /run/secrets/airflow_jwt_secret ] || AIRFLOW__API_AUTH__JWT_SECRET=$(read_secret airflow_jwt_secret) && export AIRFLOW__API_AUTH__JWT_SECRET
exec "$@"
