# shellcheck shell=bash
# dev.d/lint.sh - rules about the source text: fmt and lint.

# Every file of these kinds that git knows or would take, by pattern.
tree_files() {
    git ls-files --cached --others --exclude-standard -- "$@" | while IFS= read -r file; do
        [ -f "$file" ] && printf '%s\n' "$file"
    done
}

c_files() {
    tree_files '*.c' '*.h' '*.cc'
}

shell_files() {
    tree_files '*.sh'
    printf '%s\n' dev .ci/run
}

cmd_fmt() {
    need lint
    case ${1:-} in
        '') c_files | xargs -r clang-format -i ;;
        --check) c_files | xargs -r clang-format --dry-run --Werror ;;
        *) die 2 "fmt: unknown option $1" ;;
    esac
}

# Each C file says in its first line what it is: /* path - what it is for.
check_headers() {
    local file status=0
    while IFS= read -r file; do
        if ! head -n 1 "$file" | grep -qE '^(/\*|//) .'; then
            printf '%s:1: the file does not begin with a comment that says what it is\n' "$file"
            status=1
        fi
    done < <(tree_files '*.c' '*.h')
    return "$status"
}

# buf comes from npm; where it is not at hand the protos are compiled only.
buf_command() {
    if have buf; then
        printf 'buf\n'
    elif [ -x "$WORK_DIR/buf/node_modules/.bin/buf" ]; then
        printf '%s\n' "$WORK_DIR/buf/node_modules/.bin/buf"
    elif have npm && npm install --silent --no-audit --no-fund --prefix "$WORK_DIR/buf" \
        @bufbuild/buf@1 >/dev/null 2>&1; then
        printf '%s\n' "$WORK_DIR/buf/node_modules/.bin/buf"
    else
        return 1
    fi
}

check_protos() {
    local buf
    if ! buf=$(buf_command); then
        note "skipped: buf lint (neither buf nor npm is here)"
        return 0
    fi
    (cd proto && "$buf" lint)
}

# The headers of a gRPC core much newer than Debian's, as PyPI's grpcio carries them; only they are
# taken out of it.  Prints their directory, or nothing where they cannot be had.
core_headers() {
    local version=1.85.1 dir=$WORK_DIR/core
    if [ ! -d "$dir/$version" ]; then
        have pip || return 0
        rm -rf "$dir"
        mkdir -p "$dir/new"
        pip download --quiet --disable-pip-version-check --no-deps --no-binary grpcio \
            --dest "$dir" "grpcio==$version" >&2 || return 0
        tar -xzf "$dir"/grpcio-*.tar.gz -C "$dir/new" --strip-components=1 --wildcards '*/include/*'
        mv "$dir/new" "$dir/$version"
    fi
    printf '%s\n' "$dir/$version/include"
}

# Whatever calls the core compiles against that one too.  Syntax only: nothing is linked.
check_core() {
    local headers bin file failed=0
    headers=$(core_headers)
    if [ -z "$headers" ]; then
        note "skipped: compiling against a newer gRPC core (its headers cannot be had)"
        return 0
    fi
    need build
    bazel_run opt build //server/rpc //client # makes the headers of messages
    bin=$(bazel_bin opt)
    while IFS= read -r file; do
        gcc -std=c17 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Werror -I. -Iinclude -I"$bin" \
            -I"$bin/proto" -isystem "$headers" "$file" || failed=1
    done < <(grep -lE '\b(grpc|gpr)_' server/rpc/*.c client/*.c)
    return "$failed"
}

# Runs the checks, prints what failed, and counts like a test suite.
cmd_lint() {
    local passed=0 failed=0 name
    need lint
    for name in homes formatting headers shell protos core; do
        step "lint: $name"
        if "lint_$name"; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            printf '%sfailed: %s%s\n' "$RED" "$name" "$PLAIN" >&2
        fi
    done
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}

lint_homes() {
    tests/lint/homes.sh
}

lint_formatting() {
    cmd_fmt --check
}

lint_headers() {
    check_headers
}

lint_shell() {
    shell_files | xargs -r shellcheck
}

lint_protos() {
    check_protos
}

lint_core() {
    check_core
}
