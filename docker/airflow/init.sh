#!/bin/sh
# Once, before the others start: both databases' tables and the first login.
set -eu
airflow db migrate
garam migrate
airflow users create --role Admin --username admin --firstname Garam --lastname Admin --email admin@example.invalid \
    --password="$(cat /run/secrets/airflow_admin_password)" 2>/dev/null || true
# Without it the list of plugins, and so the link to Garam's page, is for the roles Op and Admin alone.
airflow roles add-perms Viewer User -a can_read -r Plugins
