# Builds six images: claude-api, bridge, credentials, tls-proxy, prometheus and scripted-model (demo and tests only). The
# target selects one.
#
# Both bases are arguments: images that this machine built work as well as pulled ones (scripts/base-images). Every
# download has a time limit and names its failure. The optional build secret "ca_bundle" is a PEM file that the build
# trusts, for networks whose proxy has its own certificate. No layer contains it.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim
# built: compile in a stage of this file. prebuilt: copy the binaries from target/container, which scripts/up fills with
# this machine's own cargo where that fits. The other stage does not run.
ARG BINARIES=built
# The Claude CLI; scripts/upgrade-cli changes this and the wheel below.
ARG CLAUDE_VERSION=2.1.329
# The values of the images' labels in releases. Empty in ordinary builds, so equal sources give equal images.
ARG REVISION=
ARG VERSION=

FROM ${RUST_IMAGE} AS built
# The profile: release, or dev for a quick build.
ARG CARGO_PROFILE=release
ENV CARGO_HOME=/cargo CARGO_HTTP_TIMEOUT=60 CARGO_NET_RETRY=3 CARGO_TERM_COLOR=never
WORKDIR /src
COPY . .
RUN --mount=type=cache,id=ccb-cargo,target=/cargo,sharing=locked \
    --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca_bundle; fi; \
    timeout 900 cargo fetch --locked \
    || { echo 'The Rust crates could not be fetched: see the line above. If it took its 15 minutes: is the crate registry reachable from a container? Behind a proxy, set HTTPS_PROXY and CCB_CA_BUNDLE.' >&2; exit 1; }
# The target folder is a cache: after a change of our sources, cargo recompiles only our own crates. The build touches
# them, because cargo compares times and would treat a restored older file as built.
RUN --mount=type=cache,id=ccb-cargo,target=/cargo,sharing=locked \
    --mount=type=cache,id=ccb-target,target=/src/target,sharing=locked \
    find services tests -name '*.rs' -exec touch {} + \
    && timeout 3600 cargo build --locked --offline --profile "$CARGO_PROFILE" \
       --bin claude-api --bin bridge --bin credentials --bin ccb --bin ccb-claude --bin scripted-model --bin stand-in-claude \
    && folder=target/$([ "$CARGO_PROFILE" = dev ] && echo debug || echo "$CARGO_PROFILE") \
    && mkdir -p /out && cd "$folder" && cp claude-api bridge credentials ccb ccb-claude scripted-model stand-in-claude /out/

FROM scratch AS prebuilt
COPY target/container/ /out/

FROM ${BINARIES} AS binaries

# The pinned Claude CLI: a wheel on PyPI contains the binary, which does not need Python.
FROM ${DEBIAN_IMAGE} AS cli
ARG CLAUDE_VERSION
ARG CLAUDE_WHEEL=claude-agent-sdk==0.2.186
ARG CLAUDE_WHEEL_SHA256_AMD64=3aedbd01e5727283339362a544506f05cc19863a3b4c26bb9e1656d3e3940c3d
ARG CLAUDE_WHEEL_SHA256_ARM64=2cffab71ff508634e2a6841edbcaf0d6ac3cd698e2378967ff4ffceba1d2f1bd
ENV DEBIAN_FRONTEND=noninteractive
RUN --mount=type=cache,id=ccb-apt-lists,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=cache,id=ccb-apt,target=/var/cache/apt,sharing=locked \
    (timeout 300 apt-get -q update && timeout 300 apt-get -qy -o Acquire::Retries=3 install --no-install-recommends python3-pip) \
    || { echo 'Debian packages could not be installed within 5 minutes. Is the package mirror reachable from a container?' >&2; exit 1; }
# pip checks the digest before the build unpacks the wheel; `--version` shows that the binary is complete and runs here.
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi; \
    printf '%s --hash=sha256:%s --hash=sha256:%s\n' "$CLAUDE_WHEEL" "$CLAUDE_WHEEL_SHA256_AMD64" "$CLAUDE_WHEEL_SHA256_ARM64" >/tmp/cli.txt \
    && timeout 900 pip download --no-input --no-cache-dir --progress-bar off --timeout 60 --retries 3 --no-deps --only-binary=:all: \
       --require-hashes -d /tmp/cli -r /tmp/cli.txt \
    || { echo 'The Claude CLI could not be downloaded within 15 minutes, or its checksum is wrong. Is the Python package index reachable from a container? Behind a proxy, set HTTPS_PROXY and CCB_CA_BUNDLE.' >&2; exit 1; }; \
    python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract("claude_agent_sdk/_bundled/claude", "/tmp/cli")' /tmp/cli/*.whl \
    && install -m 0711 /tmp/cli/claude_agent_sdk/_bundled/claude /usr/local/bin/claude \
    && rm -rf /tmp/cli \
    && timeout 60 claude --version | grep -qF "$CLAUDE_VERSION" \
    || { echo "The downloaded CLI is not version $CLAUDE_VERSION" >&2; exit 1; }

FROM ${DEBIAN_IMAGE} AS claude-api
ENV DEBIAN_FRONTEND=noninteractive
# The programs that the CLI's tools need.
RUN --mount=type=cache,id=ccb-apt-lists,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=cache,id=ccb-apt,target=/var/cache/apt,sharing=locked \
    (timeout 300 apt-get -q update && timeout 300 apt-get -qy -o Acquire::Retries=3 install --no-install-recommends \
       bash ca-certificates coreutils curl git libnss-extrausers procps python3 tzdata) \
    || { echo 'Debian packages could not be installed within 5 minutes. Is the package mirror reachable from a container?' >&2; exit 1; }
# The container may run as any user, and a named volume takes its first permissions from here: writable for all, and
# sticky like /tmp. Only one user ever runs in the container. The user's entry is in a file that scripts/image/start can
# replace; /etc/passwd stays as in Debian.
RUN sed -i -E 's/^(passwd|group):.*files.*/& extrausers/' /etc/nsswitch.conf && mkdir -p /var/lib/extrausers \
    && printf 'claude:x:10001:10001::/home/claude:/bin/bash\n' >/var/lib/extrausers/passwd \
    && printf 'claude:x:10001:\n' >/var/lib/extrausers/group && getent passwd 10001 && getent group 10001 \
    && mkdir -p /home/claude /spool /workspace/default && chmod 1777 /home/claude /spool /workspace /workspace/default /var/lib/extrausers
# A program that its user may run but not read hides its memory and descriptors from that user's processes (proc(5)).
COPY --from=cli /usr/local/bin/claude /usr/local/bin/claude
COPY --from=binaries --chmod=0711 /out/claude-api /usr/local/bin/claude-api
COPY scripts/image/start scripts/image/watch-health /usr/local/bin/
# Executions are sandboxed, so the CLI may use its tools. It denies tools that are not listed without a question.
ENV HOME=/home/claude USER=claude LOGNAME=claude LANG=C.UTF-8 DEBIAN_FRONTEND= \
    CLAUDE_API_HOST=0.0.0.0 \
    CLAUDE_API_PORT=8002 \
    CLAUDE_API_BOXED=true \
    CLAUDE_API_SPOOL_DIR=/spool \
    CLAUDE_API_WORKSPACE_ROOT=/workspace \
    CLAUDE_API_CLAUDE_BIN=/usr/local/bin/claude \
    CLAUDE_API_ALLOWED_HOSTS=claude-api \
    CLAUDE_API_SANDBOX=true \
    CLAUDE_API_PERMISSION_MODE=dontAsk \
    CLAUDE_API_ALLOWED_TOOLS=Bash,Edit,Glob,Grep,NotebookEdit,Read,Task,TodoWrite,WebFetch,WebSearch,Write
WORKDIR /workspace
USER 10001:10001
EXPOSE 8002
VOLUME ["/spool", "/workspace", "/home/claude"]
ARG REVISION VERSION CLAUDE_VERSION
LABEL io.cc-bridge.image="claude-api" \
      org.opencontainers.image.title="cc-bridge claude-api" \
      org.opencontainers.image.description="Runs the Claude CLI and streams plain text over HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      io.cc-bridge.cli.version="$CLAUDE_VERSION"
# The check itself waits while the service is healthy (scripts/image/watch-health).
HEALTHCHECK --interval=2s --timeout=90s --start-period=60s --retries=3 CMD ["watch-health", "claude-api", "healthcheck"]
ENTRYPOINT ["start"]
CMD ["serve"]

FROM ${DEBIAN_IMAGE} AS bridge
# For ccb and ccb-claude, which check certificates of wss:// addresses. Debian's slim image has none.
COPY --from=claude-api /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=binaries /out/bridge /out/ccb /out/ccb-claude /usr/local/bin/
COPY scripts/image/watch-health /usr/local/bin/
ENV LANG=C.UTF-8 \
    BRIDGE_HOST=0.0.0.0 \
    BRIDGE_PORT=8003 \
    BRIDGE_ALLOWED_HOSTS=bridge \
    BRIDGE_CLAUDE_API_URL=http://claude-api:8002
USER 10002:10002
EXPOSE 8003
ARG REVISION VERSION
LABEL io.cc-bridge.image="bridge" \
      org.opencontainers.image.title="cc-bridge bridge" \
      org.opencontainers.image.description="WebSocket sessions in front of claude-api" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
HEALTHCHECK --interval=2s --timeout=90s --start-period=30s --retries=3 CMD ["watch-health", "bridge", "healthcheck"]
ENTRYPOINT ["bridge"]
CMD ["serve"]

# The files of the image credentials: the program, the libraries that it loads, and the CA certificates.
FROM ${DEBIAN_IMAGE} AS credentials-files
COPY --from=binaries --chmod=0711 /out/credentials /files/usr/local/bin/credentials
COPY --from=claude-api /etc/ssl/certs/ca-certificates.crt /files/etc/ssl/certs/ca-certificates.crt
RUN ldd /files/usr/local/bin/credentials | sed -nE 's,^(.* => )?[[:space:]]*(/[^ ]+) .*,\2,p' | xargs cp --parents --dereference --target-directory=/files \
    && mkdir -m 1777 /files/tmp && printf 'hosts: files dns\n' >/files/etc/nsswitch.conf \
    && chroot /files credentials --version

# Holds the credential of the model. There is no shell and no other program. A program that its user may run but not read
# hides its memory and descriptors from that user's processes (proc(5)).
FROM scratch AS credentials
COPY --from=credentials-files /files/ /
ENV PATH=/usr/local/bin \
    CREDENTIALS_HOST=0.0.0.0 \
    CREDENTIALS_PORT=8005 \
    CREDENTIALS_CLAUDE_API=claude-api:8006
USER 10003:10003
EXPOSE 8005
ARG REVISION VERSION
LABEL io.cc-bridge.image="credentials" \
      org.opencontainers.image.title="cc-bridge credentials" \
      org.opencontainers.image.description="Holds the credential of the model and forwards the requests of executions" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
HEALTHCHECK --interval=2s --timeout=90s --start-period=30s --retries=3 CMD ["credentials", "healthcheck", "--watch"]
ENTRYPOINT ["credentials"]
CMD ["serve"]

# nginx with TLS in front of both services (compose.tls.yaml). The certificate is a mount, so the image has no secret.
FROM ${DEBIAN_IMAGE} AS tls-proxy
ENV DEBIAN_FRONTEND=noninteractive
RUN --mount=type=cache,id=ccb-apt-lists,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=cache,id=ccb-apt,target=/var/cache/apt,sharing=locked \
    (timeout 300 apt-get -q update && timeout 300 apt-get -qy -o Acquire::Retries=3 install --no-install-recommends nginx) \
    || { echo 'Debian packages could not be installed within 5 minutes. Is the package mirror reachable from a container?' >&2; exit 1; }
COPY scripts/image/tls-proxy.conf /etc/cc-bridge/
COPY scripts/image/tls-proxy scripts/image/watch-health /usr/local/bin/
ENV LANG=C.UTF-8 DEBIAN_FRONTEND=
USER 10001:10001
EXPOSE 8443
ARG REVISION VERSION
LABEL io.cc-bridge.image="tls-proxy" \
      org.opencontainers.image.title="cc-bridge tls-proxy" \
      org.opencontainers.image.description="nginx with TLS in front of claude-api and bridge" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# nginx answers on loopback, which says that it runs with its configuration and its certificate.
HEALTHCHECK --interval=2s --timeout=90s --start-period=30s --retries=3 \
  CMD ["watch-health", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && read -rt 5 line <&3 && [[ $line = *' 204 '* ]]"]
ENTRYPOINT ["tls-proxy"]

# Prometheus with the targets and alerts of this stack (compose.yaml, profile observability). Debian's package.
FROM ${DEBIAN_IMAGE} AS prometheus
ENV DEBIAN_FRONTEND=noninteractive
# The network protects nothing here: commands of the model reach this port, too. So there is no API to change or stop
# anything, and no page of a browser may read the answers (SECURITY.md, docs/operations.md "Prometheus and Grafana").
RUN --mount=type=cache,id=ccb-apt-lists,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=cache,id=ccb-apt,target=/var/cache/apt,sharing=locked \
    (timeout 300 apt-get -q update && timeout 300 apt-get -qy -o Acquire::Retries=3 install --no-install-recommends prometheus) \
    || { echo 'Debian packages could not be installed within 5 minutes. Is the package mirror reachable from a container?' >&2; exit 1; }
# A named volume takes its first permissions from here: the container may run as any user.
RUN mkdir -p /prometheus && chmod 1777 /prometheus
COPY deploy/observability/prometheus.yml /etc/cc-bridge/prometheus.yml
COPY deploy/observability/rules /etc/cc-bridge/rules
COPY scripts/image/watch-health /usr/local/bin/
RUN promtool check config --syntax-only /etc/cc-bridge/prometheus.yml && promtool check rules /etc/cc-bridge/rules/*.yml
ENV LANG=C.UTF-8 DEBIAN_FRONTEND=
USER 10001:10001
EXPOSE 9090
VOLUME ["/prometheus"]
ARG REVISION VERSION
LABEL io.cc-bridge.image="prometheus" \
      org.opencontainers.image.title="cc-bridge prometheus" \
      org.opencontainers.image.description="Prometheus with the targets and alerts of cc-bridge" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
HEALTHCHECK --interval=2s --timeout=90s --start-period=60s --retries=3 \
  CMD ["watch-health", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9090 && printf 'GET /-/ready HTTP/1.0\\r\\n\\r\\n' >&3 && read -rt 5 line <&3 && [[ $line = *' 200 '* ]]"]
# The bounds: 15 days or 1 GB on disk, and queries of 30 s, 8 at the same time, each of 5 million samples in memory.
ENTRYPOINT ["prometheus", "--config.file=/etc/cc-bridge/prometheus.yml", "--storage.tsdb.path=/prometheus", \
  "--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=1GB", "--web.listen-address=0.0.0.0:9090", \
  "--web.cors.origin=^$", "--query.timeout=30s", "--query.max-concurrency=8", "--query.max-samples=5000000"]

# Answers like the Messages API, from a script, without an account or network. Never part of a real deployment.
FROM ${DEBIAN_IMAGE} AS scripted-model
# The stand-in CLI does not run here: tests that need more than the real CLI can write mount it into claude-api.
COPY --from=binaries /out/scripted-model /out/stand-in-claude /usr/local/bin/
COPY scripts/image/watch-health /usr/local/bin/
USER 10001:10001
EXPOSE 8004
ARG REVISION VERSION
LABEL io.cc-bridge.image="scripted-model" \
      org.opencontainers.image.title="cc-bridge scripted-model" \
      org.opencontainers.image.description="A model that answers from a script, for demos and tests" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
HEALTHCHECK --interval=2s --timeout=90s --start-period=30s --retries=3 CMD ["watch-health", "scripted-model", "healthcheck"]
ENTRYPOINT ["scripted-model"]
CMD ["--host", "0.0.0.0"]
