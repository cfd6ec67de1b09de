# The path that configurations without flakes import.
{
  imports = [ ../../home ];
}
