#!/usr/bin/env bash
# Makes .env with secrets of its own, once; one that is there keeps what it has, and gets the secrets that are new.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
if [ -e .env ]; then
  added=
  [ -z "$(tail -c1 .env)" ] || echo >>.env
  while IFS= read -r line; do
    case $line in
      [A-Z]*=) grep -q "^$line" .env || { echo "$line$(secret)" >>.env && added="$added ${line%=}"; } ;;
    esac
  done <.env.example
  if [ -n "$added" ]; then echo ".env is there already; added to it:$added"; else
    echo ".env is there already; nothing was changed"
  fi
  exit
fi
while IFS= read -r line; do
  case $line in
    [A-Z]*=) echo "$line$(secret)" ;;
    *) echo "$line" ;;
  esac
done <.env.example >.env.new
mv .env.new .env
echo "made .env with new secrets; keep a copy of it where you keep your others"
