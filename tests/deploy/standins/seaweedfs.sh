#!/usr/bin/env bash
# Stands in for SeaweedFS where its image can't be pulled: S3 at the same port, with the same keys, its data in /data.
# It is Ceph's gateway, started by ceph_s3.sh; told to stop, it saves what its memory holds and finds it again.
set -euo pipefail
export S3_DIR=/data/ceph S3_PORT=8333 S3_KEY=${AWS_ACCESS_KEY_ID:?} S3_SECRET=${AWS_SECRET_ACCESS_KEY:?}
CONF=$S3_DIR/ceph.conf

first_start() {
  sed 's/endpoint=127.0.0.1:/endpoint=0.0.0.0:/; s/^osd_objectstore = .*/&\nosd_fast_shutdown = false/' /ceph_s3.sh >/tmp/s3.sh
  bash /tmp/s3.sh
  touch "$S3_DIR/made"
}

start_again() {
  mkdir -p "$S3_DIR/run"
  ceph-mon -c "$CONF" -i a -f & echo $! >"$S3_DIR/mon.pid"
  ceph-osd -c "$CONF" -i 0 -f & echo $! >"$S3_DIR/osd.pid"
  python3 "$S3_DIR/moncmd.py" /usr/lib/x86_64-linux-gnu/librados.so.2 "$CONF" wait
  radosgw -c "$CONF" -n client.rgw -f & echo $! >"$S3_DIR/rgw.pid"
}

stop() {
  for name in rgw osd mon; do
    pid=$(cat "$S3_DIR/$name.pid")
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  done
  exit 0
}

if [ -e "$S3_DIR/made" ]; then start_again; else first_start; fi
trap stop TERM INT
sleep infinity &
wait
