{
  sops.environment.AWS_REGION = "eu-west-1";
}
