# shellcheck shell=bash
# Checks of the container credentials, which has no shell. Sourced by basic-check.

# at_credentials UID COMMAND...: runs a command of the image claude-api among the processes of the container credentials.
at_credentials() {
  local uid=$1 id program=$2
  shift 2
  id=$(container_of credentials)
  docker run --rm --pid "container:$id" --network "container:$id" --user "$uid" --entrypoint "$program" "$IMAGE" "$@"
}

# The container runs as another user than the tools, without capabilities, and its memory cannot be read. Nothing of it is
# published, and its image has the program, its libraries and the CA certificates only.
credentials_is_closed() {
  local id status said file uid=${CCB_CREDENTIALS_UID:-10003}
  id=$(container_of credentials)
  [ -n "$id" ] || fail "credentials does not run"
  same "health" healthy "$(docker inspect -f '{{.State.Health.Status}}' "$id")"
  same "read-only" true "$(docker inspect -f '{{.HostConfig.ReadonlyRootfs}}' "$id")"
  same "published ports" "" "$(docker port "$id")"
  status=$(at_credentials "$uid" cat /proc/1/status)
  for said in "Name:	credentials" "Uid:	$uid	$uid	$uid	$uid" "CapBnd:	0000000000000000" "CapEff:	0000000000000000" "NoNewPrivs:	1"; do
    grep -qxF "$said" <<<"$status" || fail "no line '$said' in the status of credentials" "$status"
  done
  for file in environ mem fd maps; do
    if said=$(at_credentials "$uid" cat "/proc/1/$file" 2>&1) || ! grep -qi 'permission denied' <<<"$said"; then fail "its own user reads /proc/1/$file of credentials"; fi
  done
  if docker exec "$id" sh -c true >/dev/null 2>&1; then fail "the image of credentials has a shell"; fi
  said=$(docker export "$id" | tar -t | grep -vE '/$|^(\.dockerenv|dev/|etc/(hosts|hostname|resolv.conf|mtab|nsswitch.conf)|etc/ssl/certs/ca-certificates.crt|usr/local/bin/credentials|run/secrets/[a-z_]+$)' |
    grep -vE '(^|/)(ld-linux[^/]*|lib(c|m|gcc_s|pthread|dl|rt))\.so\.[0-9]+$' || true)
  same "other files in the image of credentials" "" "$said"
}

# The credential of the shell in which scripts/up built the images is in none of them.
images_have_no_credential() {
  local image
  for image in claude-api bridge credentials; do
    image=$(docker inspect -f '{{.Config.Image}}' "$(container_of $image)")
    # grep must read to the end: otherwise `docker save` fails, and so does the pipe.
    same "lines of the image $image with the credential of the shell" 0 "$(docker save "$image" | { LC_ALL=C grep -acF "${SHELL_KEY:?}" || true; })"
  done
}
