# The guest's end of emulators/qemu/agent.py: reads requests from the virtio-serial port "lab.agent", one at a time.
#
#   request   VERB SIZE ARGUMENT...\n, then SIZE bytes
#   reply     reply STATUS OUT ERR\n, then OUT bytes, then ERR bytes
#
# run     SIZE SECONDS   run the payload as a shell script; OUT and ERR are what it wrote
# stream  SIZE MARK      the same with stdin, stdout and stderr on the port "lab.stream", MARK behind the last byte
# shell   0 COLUMNS ROWS an interactive shell on /dev/hvc0, until it is left
# put     SIZE PATH      write the payload to a file
# get     0 PATH         OUT is the file
# quit    0              power off
#
# busybox runs its own applets here without a new process, which is what makes a request cheap under TCG. A command of the
# host runs under dash, which finds the real programs in PATH.

for port in /sys/class/virtio-ports/*; do
    read -r name < "$port/name"
    case $name in
    lab.agent) agent=/dev/${port##*/} ;;
    lab.stream) stream=/dev/${port##*/} ;;
    esac
done
work=/run/lab
mkdir -p $work
cd /root || exit
exec 3<> "$agent" 4<> "$stream"

reply() { # STATUS: with what is in $work/out and $work/err
    out=$(stat -c %s $work/out) err=$(stat -c %s $work/err)
    {
        echo "reply $1 $out $err"
        head -c "$out" $work/out
        head -c "$err" $work/err
    } >&3
}

read -r uptime _ < /proc/uptime
echo "ready $uptime" >&3
while IFS=' ' read -r verb size argument <&3; do
    : > $work/out
    : > $work/err
    case $verb in
    run)
        head -c "$size" <&3 > $work/command
        timeout -s KILL "$argument" dash $work/command < /dev/null > $work/out 2> $work/err 3<&- 4<&-
        reply $?
        ;;
    stream)
        head -c "$size" <&3 > $work/command
        dash $work/command <&4 >&4 2>&4 3<&-
        status=$?
        printf '%s' "$argument" >&4
        reply $status
        ;;
    shell)
        { # in one opening: the last close of a terminal forgets its size
            stty cols "${argument% *}" rows "${argument#* }"
            setsid -c bash -i
        } <> /dev/hvc0 >&0 2>&1 3<&- 4<&-
        reply $?
        ;;
    put)
        head -c "$size" <&3 > "$argument" 2> $work/err
        reply $?
        ;;
    get)
        cat "$argument" > $work/out 2> $work/err
        reply $?
        ;;
    quit)
        break
        ;;
    *)
        echo "unknown request: $verb" > $work/err
        reply 127
        ;;
    esac
done
poweroff -f
