# shellcheck shell=bash
# dev.d/image.sh - the container image: by Docker where its daemon runs, else by buildah.

IMAGE_BASE=debian:12-slim
IMAGE_OWN_BASE=localhost/waymark-debian12 # made by debootstrap where no registry answers
IMAGE_MIRROR=${WAYMARK_DEBIAN_MIRROR:-} # empty: debootstrap's own choice

cmd_image() {
    local tag=waymark:dev
    while [ $# -gt 0 ]; do
        case $1 in
            --tag) tag=${2:?} && shift 2 ;;
            --tag=*) tag=${1#*=} && shift ;;
            *) die 2 "image: unknown option $1" ;;
        esac
    done
    need build run
    build_programs # the trial needs a PostgreSQL, which dev mode brings
    if have docker && docker info >/dev/null 2>&1; then
        image_by_docker "$tag"
    else
        [ "$(id -u)" -eq 0 ] || die 1 "image: no Docker daemon here, and buildah's way needs root"
        image_by_buildah "$tag"
    fi
    step "Built and tried the image $tag"
}

image_by_docker() {
    step "Building the image by Docker"
    docker build -t "$1" . >&2
    image_try docker_try "$1"
}

docker_try() {
    docker run --rm --name waymark-trial --network host --user "$3" -v "$2:$2" \
        "${TRIAL_ENVIRONMENT[@]/#/--env=}" "$1"
}

image_by_buildah() {
    local base
    need image
    base=$(image_base)
    step "Building the image by buildah on $base"
    buildah bud --format docker --isolation chroot --layers --build-arg "BASE=$base" -t "$1" . >&2
    image_try buildah_try "$1"
    buildah rm waymark-trial >/dev/null
}

buildah_try() {
    local container=waymark-trial
    buildah rm "$container" >/dev/null 2>&1 || true # of a trial that was interrupted
    buildah from --pull-never --name "$container" "$1" >/dev/null
    buildah run --isolation chroot --user "$3" -v "$2:$2" "${TRIAL_ENVIRONMENT[@]/#/--env=}" \
        "$container" -- waymarkd serve
}

# Prints the name of a Debian 12 image: the registry's, or one made by debootstrap.
image_base() {
    local root
    if buildah inspect --type image "$IMAGE_OWN_BASE" >/dev/null 2>&1; then
        printf '%s\n' "$IMAGE_OWN_BASE"
    elif timeout 60 buildah pull -q "$IMAGE_BASE" >/dev/null 2>&1; then
        printf '%s\n' "$IMAGE_BASE"
    else
        step "No image registry answers; making a base image by debootstrap"
        root=$(mktemp -d /var/tmp/waymark-base.XXXXXX)
        debootstrap --variant=minbase bookworm "$root" ${IMAGE_MIRROR:+"$IMAGE_MIRROR"} >&2
        rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
        image_from_root "$root" >&2
        rm -rf "$root"
        printf '%s\n' "$IMAGE_OWN_BASE"
    fi
}

image_from_root() {
    local container
    container=$(buildah from scratch)
    buildah add -q "$container" "$1" /
    buildah config --cmd bash "$container"
    buildah commit -q "$container" "$IMAGE_OWN_BASE"
    buildah rm "$container"
}

# image_try RUNNER TAG: starts the image's server once, on the PostgreSQL of a dev instance of its
# own, and asks it for its health.
image_try() {
    local runner=$1 tag=$2
    (
        STATE=$WORK_DIR/image PORT=$((PORT + 20))
        trap stop_server EXIT
        stop_server
        start_server --fresh
        sockets=$(dev_env PGHOST)
        TRIAL_ENVIRONMENT=(
            "WAYMARKD_LISTEN=127.0.0.1:$((PORT + 2))"
            "WAYMARKD_ISSUER=https://issuer.invalid" # asked for keys only when a token comes
            "WAYMARKD_POSTGRES=host=$sockets dbname=$(dev_env PGDATABASE) user=$(dev_env PGUSER)"
        )
        step "Starting $tag once"
        set -m # the container gets a process group, to be ended as one
        # The socket's owner: PostgreSQL's unprivileged user.
        "$runner" "$tag" "$sockets" "$(stat -c %u:%g "$sockets")" >"$STATE/trial.log" 2>&1 &
        container=$!
        if ! wait_for 60 "$BIN_DIR/waymark" --address "127.0.0.1:$((PORT + 2))" health; then
            tail -n 20 "$STATE/trial.log" >&2
            kill -TERM -- "-$container" || true
            die 1 "the image's server did not start"
        fi
        kill -TERM -- "-$container"
        wait "$container" || true
    )
}
