# shellcheck shell=bash
# dev.d/fuzz.sh - libFuzzer on a target of tests/fuzz, under ASan and UBSan.

fuzz_names() {
    local source
    for source in tests/fuzz/*_fuzz.c; do
        basename "$source" _fuzz.c
    done
}

# What a run has learned stays in .waymark/fuzz/NAME, and the next one begins with it.
cmd_fuzz() {
    local name=${1:-} seconds=600 dir words=()
    [ -f "tests/fuzz/${name}_fuzz.c" ] ||
        die 2 "usage: ./dev fuzz NAME [--seconds N] [OPTION OF LIBFUZZER...]; NAME is one of:" \
            "$(fuzz_names | tr '\n' ' ')"
    shift
    case ${1:-} in
        --seconds) seconds=${2:?} && shift 2 ;;
        --seconds=*) seconds=${1#*=} && shift ;;
    esac
    need build test
    step "Building the fuzzer of $name (fuzz)"
    bazel_run fuzz build "//tests/fuzz:${name}_fuzz"
    [ -f "tests/fuzz/$name.dict" ] && words=("-dict=tests/fuzz/$name.dict")
    dir=$WORK_DIR/fuzz/$name
    mkdir -p "$dir/found"
    step "Fuzzing $name for $seconds seconds"
    UBSAN_OPTIONS=print_stacktrace=1 "$(bazel_bin fuzz)/tests/fuzz/${name}_fuzz" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$dir/found/" "${words[@]}" "$@" \
        "$dir" "tests/fuzz/${name}_corpus" ||
        die 1 "fuzz: $name fails on the input in $dir/found/; once mended, keep a small one in" \
            "tests/fuzz/${name}_corpus"
    step "Nothing found in $seconds seconds"
}
