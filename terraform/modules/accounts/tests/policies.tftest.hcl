# Every action and resource that each role is given, written out by hand.

mock_provider "aws" {}

variables {
  name        = "learnloop-test"
  region      = "eu-west-1"
  oidc        = { arn = "arn:aws:iam::111122223333:oidc-provider/issuer.example/id", issuer = "issuer.example/id" }
  bucket_arns = { artifacts = "arn:aws:s3:::artifacts", models = "arn:aws:s3:::models" }
  secret_arns = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:learnloop/ledger-??????"]
  kms_key_arn = "arn:aws:kms:eu-west-1:111122223333:key/one"
}

run "policies" {
  assert {
    condition = jsondecode(aws_iam_role_policy.this["learnloop"].policy).Statement == [
      { Effect = "Allow", Action = ["s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions"], Resource = ["arn:aws:s3:::artifacts"] },
      { Effect = "Allow", Action = ["s3:ListBucket"], Resource = ["arn:aws:s3:::models"] },
      { Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:DeleteObjectVersion"], Resource = ["arn:aws:s3:::artifacts/*"] },
      { Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], Resource = ["arn:aws:s3:::models/*"] },
      { Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = ["arn:aws:kms:eu-west-1:111122223333:key/one"], Condition = { StringEquals = { "kms:ViaService" = "s3.eu-west-1.amazonaws.com" } } },
    ]
    error_message = "learnloop: ${aws_iam_role_policy.this["learnloop"].policy}"
  }
  assert {
    condition = jsondecode(aws_iam_role_policy.this["serving"].policy).Statement == [
      { Effect = "Allow", Action = ["s3:ListBucket"], Resource = ["arn:aws:s3:::models"] },
      { Effect = "Allow", Action = ["s3:GetObject"], Resource = ["arn:aws:s3:::models/*"] },
      { Effect = "Allow", Action = ["kms:Decrypt"], Resource = ["arn:aws:kms:eu-west-1:111122223333:key/one"], Condition = { StringEquals = { "kms:ViaService" = "s3.eu-west-1.amazonaws.com" } } },
    ]
    error_message = "serving: ${aws_iam_role_policy.this["serving"].policy}"
  }
  assert {
    condition = jsondecode(aws_iam_role_policy.this["airflow"].policy).Statement == [
      { Effect = "Allow", Action = ["s3:ListBucket"], Resource = ["arn:aws:s3:::artifacts"] },
      { Effect = "Allow", Action = ["s3:GetObject"], Resource = ["arn:aws:s3:::artifacts/*"] },
      { Effect = "Allow", Action = ["kms:Decrypt"], Resource = ["arn:aws:kms:eu-west-1:111122223333:key/one"], Condition = { StringEquals = { "kms:ViaService" = "s3.eu-west-1.amazonaws.com" } } },
    ]
    error_message = "airflow: ${aws_iam_role_policy.this["airflow"].policy}"
  }
  assert {
    condition = jsondecode(aws_iam_role_policy.this["secrets"].policy).Statement == [
      { Effect = "Allow", Action = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], Resource = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:learnloop/ledger-??????"] },
      { Effect = "Allow", Action = ["kms:Decrypt"], Resource = ["arn:aws:kms:eu-west-1:111122223333:key/one"], Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.eu-west-1.amazonaws.com" } } },
    ]
    error_message = "secrets: ${aws_iam_role_policy.this["secrets"].policy}"
  }
  assert {
    condition = { for account, role in aws_iam_role.this : account => jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals["issuer.example/id:sub"] } == {
      learnloop = "system:serviceaccount:learnloop:learnloop"
      serving   = "system:serviceaccount:learnloop:serving"
      airflow   = "system:serviceaccount:learnloop:airflow"
      secrets   = "system:serviceaccount:external-secrets:external-secrets"
    }
    error_message = "A role is trusted to another service account than its own."
  }
}
