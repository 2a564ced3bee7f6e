# A role for each of Kubernetes' service accounts (kubernetes/base/accounts.yaml), which that account
# alone takes, with what its code calls and nothing else: learnloop/store/s3.py, serving/places/bucket.py.

locals {
  subjects = {
    learnloop = "learnloop:learnloop"
    serving   = "learnloop:serving"
    airflow   = "learnloop:airflow"
    secrets   = "external-secrets:external-secrets"
  }
  read  = ["s3:GetObject"]
  write = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
  list  = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
  # For each account: actions on what buckets hold, on the buckets, and with the key.
  grants = {
    # Steps, MLflow, the listener and the console, from which people are erased with all versions.
    learnloop = {
      objects = { artifacts = concat(local.write, ["s3:DeleteObjectVersion"]), models = local.write }
      buckets = { artifacts = concat(local.list, ["s3:ListBucketVersions"]), models = ["s3:ListBucket"] }
      key     = ["kms:Decrypt", "kms:GenerateDataKey"]
    }
    serving = {
      objects = { models = local.read }
      buckets = { models = ["s3:ListBucket"] }
      key     = ["kms:Decrypt"]
    }
    # Airflow's web server shows which version was registered.
    airflow = {
      objects = { artifacts = local.read }
      buckets = { artifacts = ["s3:ListBucket"] }
      key     = ["kms:Decrypt"]
    }
    # External Secrets.
    secrets = { objects = {}, buckets = {}, key = ["kms:Decrypt"] }
  }
  service = { for account in keys(local.grants) : account => account == "secrets" ? "secretsmanager" : "s3" }
  policies = { for account, grant in local.grants : account => jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for bucket, actions in grant.buckets : { Effect = "Allow", Action = actions, Resource = [var.bucket_arns[bucket]] }],
      [for bucket, actions in grant.objects : { Effect = "Allow", Action = actions, Resource = ["${var.bucket_arns[bucket]}/*"] }],
      [for arns in account == "secrets" ? [var.secret_arns] : [] : {
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
        Resource = arns
      }],
      [{
        Effect    = "Allow"
        Action    = grant.key
        Resource  = [var.kms_key_arn]
        Condition = { StringEquals = { "kms:ViaService" = "${local.service[account]}.${var.region}.amazonaws.com" } }
      }],
    )
  }) }
}

resource "aws_iam_role" "this" {
  for_each = local.subjects
  name     = "${var.name}-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = var.oidc.arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = { StringEquals = {
        "${var.oidc.issuer}:aud" = "sts.amazonaws.com"
        "${var.oidc.issuer}:sub" = "system:serviceaccount:${each.value}"
      } }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.policies
  name     = "what-it-calls"
  role     = aws_iam_role.this[each.key].id
  policy   = each.value
}
