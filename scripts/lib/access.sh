# shellcheck shell=bash
# Who may use the services: the folder of the token file, and TLS for other machines. Sourced, never run.

TLS_PUBLISH=${CCB_TLS_PUBLISH:-0.0.0.0}
TLS_PORT=${CCB_TLS_PORT:-8443}
# The days for which a self-signed certificate is valid.
SELF_SIGNED_DAYS=90
GUIDE='docs/operations.md, "Open the services to other machines", has every step'

# may_read PATH: succeeds when the services' user, CCB_UID and CCB_GID, may read the file or enter the folder.
may_read() {
  local mode uid gid need=4
  [ ! -d "$1" ] || need=1
  read -r mode uid gid < <(stat -L -c '%a %u %g' "$1")
  mode=$((8#$mode))
  if [ "$uid" = "$CCB_UID" ]; then need=$((need << 6)); elif [ "$gid" = "$CCB_GID" ]; then need=$((need << 3)); fi
  ((mode & need))
}

# written_by_others PATH: succeeds when every user of this machine may write the file or folder.
written_by_others() { (((8#$(stat -L -c '%a' "$1") & 2) != 0)); }

# need_readable NAME PATH: checks that the services' user may read a file, or enter a folder, of the setting NAME.
need_readable() {
  may_read "$2" || fail_with 64 "the services run as $CCB_UID:$CCB_GID and may not read $2 ($1)" \
    "its owner is $(stat -L -c '%u:%g, its mode %a' "$2"): sudo chown -R $CCB_UID:$CCB_GID '$2'"
}

# inside FOLDER OTHER: succeeds when FOLDER is OTHER or below it.
inside() { case $1/ in "${2%/}"/*) ;; *) return 1 ;; esac }

# secret_folder NAME: checks that the setting NAME names a folder which neither the repository nor the model's commands
# reach, and exports its absolute path. Commands can write CCB_WORKSPACE and CCB_CLI_HOME, and read the repository there.
secret_folder() {
  local name=$1 folder=${!1}
  folder=$(compose_path "$folder")
  [ -d "$folder" ] || fail_with 64 "$name is not a folder: $folder" "make it: mkdir -p -m 0700 '$folder'" "$GUIDE"
  folder=$(cd "$folder" && pwd -P) || fail_with 64 "you may not enter the folder $folder ($name)" "check its owner and mode"
  secret_place "$name" "$folder"
  if written_by_others "$folder"; then fail_with 64 "every user of this machine may write $folder ($name)" "chmod o-w '$folder'"; fi
  need_readable "$name" "$folder"
  export "$name=$folder"
}

# secret_place NAME PATH: checks that neither the repository nor the model's commands reach the file or folder of the
# setting NAME.
secret_place() {
  local name=$1 folder=$2 other place
  for other in "$ROOT:this repository" "${CCB_WORKSPACE:-}:the workspace" "${CCB_CLI_HOME:-}:the CLI's home"; do
    place=${other%:*}
    [ -n "$place" ] || continue
    place=$(cd "$place" && pwd -P)
    if inside "$folder" "$place" || inside "$place" "$folder"; then
      fail_with 64 "$name=$folder and ${other##*:}, $place, are not separate folders" \
        "use a folder of its own: commands of the model and programs that build the images must not reach it" "for example $HOME/.config/cc-bridge/access"
    fi
  done
}

# check_access: checks the folder of the token file, if CCB_ACCESS_DIR names one.
check_access() {
  local file
  [ -n "${CCB_ACCESS_DIR+set}" ] || return 0
  [ -n "$CCB_ACCESS_DIR" ] || fail_with 64 "CCB_ACCESS_DIR is set, but empty" \
    "name the folder of the token file, or unset it: then there are no tokens, and whoever reaches a port may run prompts"
  secret_folder CCB_ACCESS_DIR
  file=$CCB_ACCESS_DIR/tokens.toml
  [ -f "$file" ] || fail_with 64 "there is no file tokens.toml in CCB_ACCESS_DIR=$CCB_ACCESS_DIR, so nobody could use the services" \
    "make a first token: scripts/ccb token new admin --role admin --out admin.token --add '$file'" "$GUIDE"
  need_readable CCB_ACCESS_DIR "$file"
  if written_by_others "$file"; then fail_with 64 "every user of this machine may write $file" "chmod o-w '$file'"; fi
}

# check_tls: checks the settings of --tls, and makes a certificate first with --self-signed.
check_tls() {
  local file
  [ -n "${CCB_ACCESS_DIR:-}" ] || fail_with 64 "--tls opens the services to other machines, and there are no tokens: CCB_ACCESS_DIR is not set" \
    "everybody who reaches the port could run prompts. Make a folder with a token first:" \
    "  mkdir -p -m 0700 ~/.config/cc-bridge/access" \
    "  scripts/ccb token new admin --role admin --out admin.token --add ~/.config/cc-bridge/access/tokens.toml" \
    "  export CCB_ACCESS_DIR=~/.config/cc-bridge/access    # or put it into .env" "$GUIDE"
  case $PUBLISH in
    127.* | ::1 | '[::1]' | localhost) ;;
    *) fail_with 64 "CCB_PUBLISH=$PUBLISH opens the ports without TLS, beside --tls" "unset CCB_PUBLISH: with --tls only the TLS port is open to other machines" ;;
  esac
  [ -n "${CCB_PUBLIC_NAME:-}" ] || fail_with 64 "--tls needs CCB_PUBLIC_NAME, the name by which other machines reach this one" \
    "for example CCB_PUBLIC_NAME=agents.example.org; an IPv4 address works, too" "$GUIDE"
  [[ $CCB_PUBLIC_NAME =~ ^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$ ]] ||
    fail_with 64 "CCB_PUBLIC_NAME=$CCB_PUBLIC_NAME is no host name" "give the name alone: no https://, no port, no path"
  [ -n "${CCB_TLS_DIR:-}" ] || fail_with 64 "--tls needs CCB_TLS_DIR, the folder of the certificate fullchain.pem and its key privkey.pem" \
    "to try it out: CCB_TLS_DIR=~/.config/cc-bridge/tls scripts/up --tls --self-signed makes both there" "$GUIDE"
  need_command openssl openssl
  [ -z "$SELF_SIGNED" ] || make_tls_folder
  secret_folder CCB_TLS_DIR
  [ -z "$SELF_SIGNED" ] || self_signed
  for file in fullchain.pem privkey.pem; do
    [ -f "$CCB_TLS_DIR/$file" ] || fail_with 64 "there is no file $file in CCB_TLS_DIR=$CCB_TLS_DIR" \
      "copy the certificate with its chain to fullchain.pem, and its key to privkey.pem; --self-signed makes both for trying it out" "$GUIDE"
    need_readable CCB_TLS_DIR "$CCB_TLS_DIR/$file"
  done
  check_certificate "$CCB_TLS_DIR/fullchain.pem" "$CCB_TLS_DIR/privkey.pem"
}

# check_certificate CERTIFICATE KEY: checks that both can be read and belong together, and that the certificate is valid now
# and for CCB_PUBLIC_NAME.
check_certificate() {
  local of_certificate of_key names
  of_certificate=$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null) || fail_with 64 "$1 is no certificate in PEM format" \
    "the first certificate in the file must be the server's, in the form -----BEGIN CERTIFICATE-----"
  of_key=$(openssl pkey -in "$2" -passin pass: -pubout 2>/dev/null) || fail_with 64 "$2 is no private key in PEM format that can be read without a password" \
    "check that you may read the file; remove a password with openssl pkey -in OLD -out NEW"
  [ "$of_certificate" = "$of_key" ] || fail_with 64 "the key $2 does not belong to the certificate $1" "copy the pair that was made together"
  openssl x509 -in "$1" -noout -checkend 0 >/dev/null || fail_with 64 "the certificate $1 has expired: $(openssl x509 -in "$1" -noout -enddate)" \
    "renew it; a certificate of --self-signed: remove the files in $(dirname "$1") and run scripts/up --tls --self-signed again"
  openssl x509 -in "$1" -noout -checkend $((14 * 24 * 3600)) >/dev/null || warn "the certificate $1 ends soon: $(openssl x509 -in "$1" -noout -enddate)"
  if ! certificate_names "$1"; then
    names=$(openssl x509 -in "$1" -noout -ext subjectAltName 2>/dev/null | sed -n 's/^ \+//p' | tail -n 1)
    fail_with 64 "the certificate $1 is not valid for CCB_PUBLIC_NAME=$CCB_PUBLIC_NAME" \
      "it is valid for: ${names:-no name}" "set CCB_PUBLIC_NAME to such a name, or get a certificate for this one"
  fi
}

# certificate_names CERTIFICATE: succeeds when the certificate is valid for CCB_PUBLIC_NAME.
certificate_names() {
  local option=-checkhost
  ! is_ipv4 "$CCB_PUBLIC_NAME" || option=-checkip
  # The exit code is 0 for any name.
  openssl x509 -in "$1" -noout "$option" "$CCB_PUBLIC_NAME" | grep -q 'does match'
}
is_ipv4() { [[ $1 =~ ^[0-9]+(\.[0-9]+){3}$ ]]; }

# make_tls_folder: makes the folder CCB_TLS_DIR for the services' user, unless it exists.
make_tls_folder() {
  local folder
  folder=$(compose_path "$CCB_TLS_DIR")
  [ ! -d "$folder" ] || return 0
  mkdir -p "$(dirname "$folder")" && mkdir -m 0700 "$folder" || fail_with 64 "could not make the folder CCB_TLS_DIR=$folder" "name a folder that you may write"
  [ "$(id -u)" != 0 ] || chown "$CCB_UID:$CCB_GID" "$folder"
}

# self_signed: makes a certificate for CCB_PUBLIC_NAME in CCB_TLS_DIR, with a CA of its own whose key is thrown away. Keeps
# a certificate that is there.
self_signed() {
  local folder=$CCB_TLS_DIR work kind=DNS
  if [ -e "$folder/fullchain.pem" ] || [ -e "$folder/privkey.pem" ]; then
    say "· $folder has a certificate: --self-signed makes no other"
    return 0
  fi
  ! is_ipv4 "$CCB_PUBLIC_NAME" || kind=IP
  work=$(mktemp -d "$folder/.new.XXXXXX")
  if ! ( cd "$work" && make_certificate "$kind" ) >"$work/log" 2>&1; then
    tail -n 5 "$work/log" >&2
    rm -rf "$work"
    fail "openssl could not make a certificate for $CCB_PUBLIC_NAME" "see the lines above"
  fi
  [ "$(id -u)" != 0 ] || chown "$CCB_UID:$CCB_GID" "$work"/*.pem
  mv "$work"/{ca,fullchain,privkey}.pem "$folder/"
  rm -rf "$work"
  say "· made a certificate for $CCB_PUBLIC_NAME in $folder, valid for $SELF_SIGNED_DAYS days. Other machines need $folder/ca.pem"
}

# make_certificate DNS|IP: makes ca.pem, fullchain.pem and privkey.pem in this folder.
make_certificate() {
  local key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
  umask 077
  {
    echo "subjectAltName=$1:$CCB_PUBLIC_NAME"
    echo 'basicConstraints=critical,CA:false'
    echo 'keyUsage=critical,digitalSignature'
    echo 'extendedKeyUsage=serverAuth'
  } >extensions
  openssl req -x509 "${key[@]}" -days "$SELF_SIGNED_DAYS" -keyout ca.key -out ca.pem -addext keyUsage=critical,keyCertSign \
    -subj "/CN=cc-bridge on ${CCB_PUBLIC_NAME:0:50}" &&
    openssl req -new "${key[@]}" -keyout privkey.pem -out request -subj "/CN=${CCB_PUBLIC_NAME:0:64}" &&
    openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days "$SELF_SIGNED_DAYS" -extfile extensions -out fullchain.pem &&
    chmod 0644 ca.pem fullchain.pem
}

# tls_words: prints how other machines reach the services.
tls_words() {
  local at=$CCB_PUBLIC_NAME ca=''
  [ "$TLS_PORT" = 443 ] || at+=:$TLS_PORT
  [ ! -f "$CCB_TLS_DIR/ca.pem" ] || ca=' --ca ca.pem'
  say "for other machines: wss://$at/ws (WebSocket) and https://$at (HTTP), with a token:"
  say "  ccb --url wss://$at/ws$ca --token-file FILE exec \"...\""
}
