# shellcheck shell=bash
# dev.d/clients.sh - `test --clients`: the scenario of tests/clients in the languages that are here.

# All clients, the slow builds first, so that two at a time end together.
client_names() {
    local name
    for name in rust java go node python-asyncio python grpcurl; do
        [ -x "tests/clients/$name/build.sh" ] && printf '%s\n' "$name"
    done
}

# test_clients [NAME...]
test_clients() {
    local names=("$@") name
    [ $# -gt 0 ] || mapfile -t names < <(client_names)
    for name in "${names[@]}"; do
        [ -x "tests/clients/$name/build.sh" ] || die 2 "test: there is no client $name (tests/clients)"
    done
    need build run clients
    build_programs
    step "Building and running the clients: ${names[*]}"
    GRPCURL=$(find_grpcurl) WAYMARKD=$BIN_DIR/waymarkd WAYMARK=$BIN_DIR/waymark WAYMARK_PROTO=$ROOT/proto \
        /usr/bin/python3 -B tests/clients/run.py "$WORK_DIR/clients" "${names[@]}"
}
