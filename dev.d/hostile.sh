# shellcheck shell=bash
# dev.d/hostile.sh - hostile peers against servers of their own: the table of docs/security.md.

hostile_usage() {
    cat <<'END'
usage: ./dev hostile [--seconds N] [--json] [--realtime] [ATTACK...]

Plays every attack, or those named, without the gate and behind it, beside a well-behaved client.
  --seconds N   of each attack (3)
  --json        one line of JSON instead of a table
  --realtime    servers and good client at real-time priority, for machines that are busy otherwise
`waymark_hostile list` (in .waymark/bin) tells the attacks; tests/hostile/README.md how they are measured.
END
}

cmd_hostile() {
    local bin certificate joined tls
    if asks_for_help "$@"; then
        hostile_usage
        return
    fi
    need build run
    build_programs
    bazel_run opt build //tests/hostile:waymark_hostile //tests/interop:server
    bin=$(bazel_bin opt)
    publish "$bin/tests/hostile/waymark_hostile" waymark_hostile
    publish "$bin/tests/interop/server" interop_server
    mapfile -t certificate < <(interop_certificate)
    joined="$BIN_DIR/waymarkd dev --join {base} --listen 127.0.0.1:{port}"
    tls="$BIN_DIR/interop_server --port {port} --tls ${certificate[*]}"
    step "Playing hostile peers against servers of their own"
    /usr/bin/python3 -B tests/hostile/run.py --hostile "$BIN_DIR/waymark_hostile" \
        --base "$BIN_DIR/waymarkd dev --state {state} --listen 127.0.0.1:{port} --issuer-listen 127.0.0.1:{issuer_port}" \
        --way "direct=$joined --gate never" --tls-way "direct=$tls" \
        --way "gate=$joined --gate always" --tls-way "gate=$tls --gate" "$@"
}
