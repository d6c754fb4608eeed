FROM python:3.11-slim-bookworm
RUN apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends ceph-mon ceph-osd radosgw
COPY ceph_s3.sh seaweedfs.sh /
VOLUME /data
ENTRYPOINT ["bash", "/seaweedfs.sh"]
