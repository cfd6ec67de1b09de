{
  sops.hostRecipients = [ "age1hkpxawruxazyyrd7l2wt5rxs07pum6t9qcszve6q2ykxvv5n356s3ghqzk" ];
}
