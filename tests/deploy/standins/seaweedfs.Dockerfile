# The program of the official image, from PyPI.
FROM python:3.11-slim-bookworm
COPY weed /usr/bin/weed
VOLUME /data
ENTRYPOINT ["/usr/bin/weed", "-logtostderr=true"]
