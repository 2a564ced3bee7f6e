"""A folder on the import path of ``make airflow``, for the module that Airflow looks for there."""
