"""The folder to name as ``AIRFLOW__CORE__PLUGINS_FOLDER``."""
