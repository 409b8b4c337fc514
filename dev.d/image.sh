# shellcheck shell=bash
# dev.d/image.sh - the container image.
cmd_image() { :; }
