# The browser of the tests of TLS, without a window. Its certificates are in an NSS database (certutil).
ARG DEBIAN_IMAGE=debian:bookworm-slim
FROM ${DEBIAN_IMAGE}
ENV DEBIAN_FRONTEND=noninteractive
RUN --mount=type=cache,id=ccb-apt-lists,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=cache,id=ccb-apt,target=/var/cache/apt,sharing=locked \
    timeout 120 apt-get -q update \
    && timeout 400 apt-get -qy -o Acquire::Retries=3 install --no-install-recommends chromium-headless-shell libnss3-tools
LABEL io.cc-bridge.image="browser"
