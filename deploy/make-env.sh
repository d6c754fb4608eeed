#!/usr/bin/env bash
# Makes .env with secrets of its own, once; one that is there stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -e .env ]; then
  echo ".env is there already; nothing was changed"
  exit
fi
umask 077
while IFS= read -r line; do
  case $line in
    [A-Z]*=) echo "$line$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
    *) echo "$line" ;;
  esac
done <.env.example >.env.new
mv .env.new .env
echo "made .env with new secrets; keep a copy of it where you keep your others"
