#!/usr/bin/env bash
# Prints what commands outside of the containers need:  eval "$(deploy/environment.sh)"
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -r .env ]; then
  echo "there is no .env; make it: deploy/make-env.sh" >&2
  exit 2
fi
# shellcheck source=/dev/null
. ./.env
cat <<END
export REPRO_MONGO_URL='mongodb://operator:$REPRO_OPERATOR_PASSWORD@127.0.0.1:${MONGO_PORT:-27017}/repro?authSource=admin&directConnection=true'
export REPRO_STORE='s3://repro/runs'
export AWS_ENDPOINT_URL='http://127.0.0.1:${S3_PORT:-8333}'
export AWS_ACCESS_KEY_ID='$S3_ACCESS_KEY'
export AWS_SECRET_ACCESS_KEY='$S3_SECRET_KEY'
export AWS_DEFAULT_REGION='us-east-1'
END
