FROM python:3.11-slim-bookworm
RUN apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends libcurl4
# As in the official image: the user, and folders that are its own.
RUN groupadd --gid 999 mongodb && useradd --uid 999 --gid 999 mongodb \
 && install --directory --owner mongodb --group mongodb /data/db /data/configdb
COPY mongod /usr/bin/mongod
VOLUME /data/db /data/configdb
CMD ["mongod"]
