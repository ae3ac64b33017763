"""Run files to MLflow: a copy that can be deleted and made again."""
