"""fuzz_target: one fuzz target, as a quick test and as a libFuzzer binary.

    fuzz_target(name = "x_fuzz", srcs = ["x_fuzz.c"], corpus = glob(["x_corpus/*"]), deps = [...])

makes :x_fuzz_test, which replays the corpus with a few changes in any build, and :x_fuzz, which
./dev fuzz x builds with --config=fuzz and runs.
"""

def fuzz_target(name, srcs, corpus, deps):
    native.cc_test(
        name = name + "_test",
        size = "small",
        srcs = srcs + ["replay.c"],
        args = ["$(location {})".format(f) for f in corpus],
        data = corpus,
        deps = deps,
    )
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = srcs,
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual"],
        deps = deps,
    )
