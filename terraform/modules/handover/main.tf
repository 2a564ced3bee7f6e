# What the code reads from the environment, by the names under which kubernetes/ takes it in, and what
# Kubernetes must know besides. Makes nothing: texts of what the other modules have made.

locals {
  settings = {
    LEARNLOOP_STORE              = "s3://${var.artifacts_bucket}/store"
    MLFLOW_ARTIFACTS_DESTINATION = "s3://${var.artifacts_bucket}/mlflow"
    AWS_DEFAULT_REGION           = var.region
  }
  kafka = {
    LEARNLOOP_KAFKA_BOOTSTRAP_SERVERS = var.kafka_brokers
    LEARNLOOP_KAFKA_SECURITY_PROTOCOL = "SASL_SSL"
    LEARNLOOP_KAFKA_SASL_MECHANISM    = "SCRAM-SHA-512"
  }

  # In place of %[1]s, the database and the role that owns it; %hex is for the module "secret".
  postgresql = "postgresql+psycopg2://%[1]s:%%hex@${var.database_address}:5432/%[1]s?sslmode=require"

  secrets = {
    "learnloop/ledger"         = { LEARNLOOP_LEDGER = format(local.postgresql, "ledger") }
    "learnloop/mlflow"         = { MLFLOW_BACKEND_STORE_URI = format(local.postgresql, "mlflow") }
    "learnloop/keys"           = { LEARNLOOP_PSEUDONYM_KEYS = "first:%hex" }
    "learnloop/events"         = { LEARNLOOP_EVENT_KEY = "%hex", LEARNLOOP_KAFKA_SASL_USERNAME = "learnloop" }
    "learnloop/broker"         = { LEARNLOOP_RABBITMQ = var.broker_url }
    "learnloop/online"         = { LEARNLOOP_FEATURES_ONLINE = var.cache_url }
    "learnloop/feature-tokens" = { LEARNLOOP_FEATURES_TOKENS = "%hex" }
    "learnloop/serving-tokens" = { LEARNLOOP_SERVING_TOKENS = "%hex" }
    "learnloop/listener-airflow" = {
      LEARNLOOP_AIRFLOW_USER     = "listener"
      LEARNLOOP_AIRFLOW_PASSWORD = "%hex"
    }
    "learnloop/airflow" = {
      # Of Airflow's two drivers one does not know sslmode: both take PGSSLMODE of airflow.env.
      AIRFLOW__DATABASE__SQL_ALCHEMY_CONN = trimsuffix(format(local.postgresql, "airflow"), "?sslmode=require")
      AIRFLOW__CORE__FERNET_KEY           = "%base64"
      AIRFLOW__API__SECRET_KEY            = "%hex"
      AIRFLOW__API_AUTH__JWT_SECRET       = "%hex"
    }
  }

  objects = [
    {
      apiVersion  = "storage.k8s.io/v1"
      kind        = "StorageClass"
      metadata    = { name = "efs" }
      provisioner = "efs.csi.aws.com"
      parameters = {
        provisioningMode = "efs-ap"
        fileSystemId     = var.file_system_id
        directoryPerms   = "700"
        uid              = "65532" # as the containers run
        gid              = "65532"
      }
      mountOptions  = ["tls"]
      reclaimPolicy = "Retain"
    },
    {
      apiVersion = "external-secrets.io/v1"
      kind       = "ClusterSecretStore"
      metadata   = { name = "learnloop" }
      spec = {
        conditions = [{ namespaces = ["learnloop"] }] # else whoever may write anywhere reads all secrets
        provider   = { aws = { service = "SecretsManager", region = var.region } }
      }
    },
  ]

  patches = concat(
    [for account in ["learnloop", "serving", "airflow"] : {
      apiVersion = "v1"
      kind       = "ServiceAccount"
      metadata   = { name = account, annotations = { "eks.amazonaws.com/role-arn" = var.role_arns[account] } }
    }],
    [for claim in ["learnloop-models", "learnloop-shared"] : {
      apiVersion = "v1"
      kind       = "PersistentVolumeClaim"
      metadata   = { name = claim }
      spec       = { storageClassName = "efs" }
    }],
  )
}
