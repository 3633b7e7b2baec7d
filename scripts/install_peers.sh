#!/usr/bin/env bash
# Installs the programs that tests talk to, where that is possible; a missing one makes its tests skip, and say so.
set -euo pipefail
declare -A packages=([nc]=netcat-openbsd [socat]=socat [tmux]=tmux [ip]=iproute2 [nft]=nftables [tshark]=tshark [node]=nodejs [chromium]=chromium)
missing=()
for program in "${!packages[@]}"; do
    command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
# A benchmark compares with OpenSSL in C.
[ -e /usr/include/openssl/ssl.h ] || missing+=(libssl-dev)
# The pictures of the web console are drawn with these.
[ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] || missing+=(fonts-dejavu-core)
[ -e /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc ] || missing+=(fonts-noto-cjk)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # tshark's package asks who may capture; nobody needs to here: it only reads files.
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null && exit 0
fi
echo "setup: the tests with ${missing[*]} will be skipped; to run them: sudo apt install ${missing[*]}" >&2
