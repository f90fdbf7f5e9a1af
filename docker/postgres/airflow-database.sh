#!/bin/sh
# Runs once, when the data folder is new: Airflow keeps its own database beside Garam's.
set -eu
psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --command 'CREATE DATABASE airflow'
