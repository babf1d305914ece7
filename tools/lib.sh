# What the scripts of this directory share; to be sourced by bash. Everything it starts it starts by hand and
# remembers by pid: service managers may be absent, or may refuse.

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $1"; [ -z "${2:-}" ] || say "hint: $2"; exit "${3:-1}"; }

need_root() {
    [ "$(id -u)" = 0 ] || die "this needs root" "sudo $0" 3
}

# The packages of the arguments that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
    done
}

# Install packages that are missing.
install_packages() {
    local missing
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || die "these packages are missing: $missing" "install them with this system's package manager" 3
    say "installing: $missing"
    quietly "apt-get could not read the package lists" apt-get update -q
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive quietly "apt-get could not install: $missing" \
        apt-get install -q -y --no-install-recommends $missing
}

# quietly FAILURE COMMAND...: what the command says is shown only when it fails.
quietly() {
    local failure=$1 log
    shift
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "$failure" "the lines above say why" 3
    fi
    rm -f "$log"
}

is_x86() { [ "$(uname -m)" = x86_64 ]; }

# Debian's packages for running sandboxes on this machine.
runtime_packages() {
    # An engine that is there stays: Debian's docker.io would put the one from docker.com out.
    command -v dockerd >/dev/null || PATH=$PATH:/usr/sbin command -v dockerd >/dev/null || printf '%s ' docker.io
    printf '%s ' busybox-static nftables iptables mmdebstrap debian-archive-keyring python3 python3-venv openssh-client
    if is_x86; then printf '%s ' qemu-user-static arch-test; fi
}

# docker_get PATH [SOCKET]: the answer of Docker's API; fails when there is none.
docker_get() {
    python3 - "$1" "${2:-/var/run/docker.sock}" <<'EOF' 2>/dev/null
import http.client, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(sys.argv[2])
unix = Unix("docker")
unix.request("GET", sys.argv[1])
answer = unix.getresponse()
print(answer.read().decode())
sys.exit(answer.status != 200)
EOF
}

docker_answers() { docker_get /_ping "${1:-/var/run/docker.sock}" >/dev/null; }

# wait_for_docker SOCKET PID LOG: until it answers, at most a minute.
wait_for_docker() {
    local tries
    for tries in $(seq 240); do
        docker_answers "$1" && return 0
        kill -0 "$2" 2>/dev/null || { tail -n 5 "$3" >&2; die "dockerd ended at once" "its log is above" 3; }
        sleep 0.25
    done
    die "dockerd did not answer within 60 s" "its log: $3" 3
}

# Emulators for ARM programs, on x86. Prints the names of what it registered itself.
register_emulators() {
    is_x86 || return 0
    local misc=/proc/sys/fs/binfmt_misc name
    [ -e $misc/register ] || mount -t binfmt_misc binfmt_misc $misc \
        || die "binfmt_misc cannot be mounted" "this kernel needs CONFIG_BINFMT_MISC" 3
    for name in qemu-arm qemu-aarch64; do
        [ ! -e $misc/$name ] || continue
        [ -e /usr/lib/binfmt.d/$name.conf ] || die "there is no /usr/lib/binfmt.d/$name.conf" "apt-get install --reinstall qemu-user-static" 3
        cat /usr/lib/binfmt.d/$name.conf >$misc/register || die "$name cannot be registered" "see dmesg" 3
        echo $name
    done
}

# end_process PID: politely, then not.
end_process() {
    local tries
    kill "$1" 2>/dev/null || return 0
    for tries in $(seq 100); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$1" 2>/dev/null || true
}

# make_venv VENV SOURCE SPEC: a virtual environment with zun-arm of SOURCE in it, made anew when the source changed.
make_venv() {
    local venv=$1 source=$2 spec=$3 stamp
    stamp=$(cd "$source" && { printf '%s\n' "$spec"; python3 -c 'import sys; print(sys.version)'
        find setup.py pyproject.toml zun_arm images -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum; } | sha256sum)
    [ "$(cat "$venv/.stamp" 2>/dev/null)" != "$stamp" ] || return 0
    say "installing zun-arm in ${venv##*/}"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "python3 is older than 3.11" "use Debian 12 or newer" 3
    [ -e "$venv/.stamp" ] || python3 -m venv --clear "$venv" || die "the virtual environment cannot be made" "apt-get install python3-venv" 3
    # shellcheck disable=SC2086
    # From a copy, unless editable: setuptools leaves its build in the source.
    local place=$source
    case $spec in
    --editable*) ;;
    *)
        place=$(mktemp -d)
        (cd "$source" && cp -r setup.py pyproject.toml README.md zun_arm images "$place")
        ;;
    esac
    quietly "pip could not install zun-arm" sh -c 'cd "$0" && "$1" -m pip install -q --disable-pip-version-check $2' \
        "$place" "$venv/bin/python" "$spec"
    [ "$place" = "$source" ] || rm -rf "$place"
    printf '%s\n' "$stamp" >"$venv/.stamp"
}
