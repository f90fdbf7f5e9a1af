#!/bin/sh
# Once, before the others start: both databases' tables and the first login.
set -eu
airflow db migrate
garam migrate
airflow users create --role Admin --username admin --firstname Garam --lastname Admin --email admin@example.invalid \
    --password="$(cat /run/secrets/airflow_admin_password)" 2>/dev/null || true
