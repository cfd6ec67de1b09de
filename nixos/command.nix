# A shell command that runs with extra environment variables, without leaving them behind. Values stand in single quotes and
# are not escaped further: users end the quotes to substitute commands.
{ lib }:

environment: command:
if environment == { } then
  command
else
  ''
    (
    ${lib.concatStrings (lib.mapAttrsToList (name: value: "  export ${name}='${value}'\n") environment)}  ${command}
    )
  ''
