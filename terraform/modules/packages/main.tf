# Wheels: the distribution `learnloop`, published here by CI. No public index stands behind it, so
# that nobody can slip in a package of the same name.

resource "aws_codeartifact_domain" "this" {
  domain         = var.name
  encryption_key = var.kms_key_arn
}

resource "aws_codeartifact_repository" "this" {
  domain      = aws_codeartifact_domain.this.domain
  repository  = "wheels"
  description = "LearnLoop's own wheels"
}

data "aws_codeartifact_repository_endpoint" "this" {
  domain     = aws_codeartifact_domain.this.domain
  repository = aws_codeartifact_repository.this.repository
  format     = "pypi"
}
