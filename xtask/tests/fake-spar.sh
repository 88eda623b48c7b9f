#!/bin/sh
# Stands for `spar` in the tests of `cargo xtask reproduce`: the same options
# and output, no work. $FAKE/calls gets a line for each thing it does;
# FAKE_FAIL is a pattern of runs that fail, FAKE_SLOW one of runs that never
# end by themselves.
option() {
    name=$1
    shift
    while [ $# -gt 1 ]; do
        if [ "$1" = "$name" ]; then echo "$2" && return; fi
        shift
    done
    echo none
}
note() { echo "$*" >>"$FAKE/calls"; }
task=$(option --task "$@")

# The spec of a run of task $1, column $2 and seed $3, with the critic's tau of the suite.
spec() {
    tau=$(sed -n 's/^critic.tau = //p' "$FAKE/suite.toml")
    lr=$(sed -n 's/^anchor.lr = //p' "$FAKE/suite.toml")
    cat <<SPEC
{"suite":"fake","preset":"quick","task":"$1","method":"$2","seed":$3,"env":"hopper",\
"dataset":{"id":"$1-local","origin":"local","sha256":"feed","rows":7},\
"eval_seed":1,"final_episodes":1,"device":"$4",\
"config":{"batch_size":4,"updates":2,"anchor":{"updates":2,"lr":${lr:-0.5}},"critic":{"tau":$tau}}}
SPEC
}

case "$1 $2" in
"protocol --settings")
    for task in $(option --tasks "$@" | tr , ' '); do
        for method in $(option --methods "$@" | tr , ' '); do
            spec=$(spec "$task" "$method" 0 "$(option --device "$@")")
            echo "{\"task\":\"$task\",\"column\":\"$method\",\"anchored\":true,\"spec\":$spec}"
        done
    done
    exit 0
    ;;
"data prepare")
    note "data $task $(option --data "$@") $(option --rows "$@")"
    echo "generating" >&2
    case "data/$task" in ${FAKE_FAIL:-nothing})
        echo "error: disk full" >&2
        exit 1
        ;;
    esac
    echo "{\"file\":\"data/$task.hdf5\",\"id\":\"$task-local\",\"origin\":\"local\",\"sha256\":\"${FAKE_SHA:-feed}\",\"rows\":7}"
    exit 0
    ;;
"data verify")
    note "verify ${3#datasets/local/} $(option --sample "$@")"
    case "$3" in *${FAKE_BAD:-nothing}*)
        echo "error: the rows are not the physics'" >&2
        exit 1
        ;;
    esac
    echo '{"checked":5,"mean_return":1000.0,"max_abs_obs":1e-7,"max_abs_reward":2e-7}'
    exit 0
    ;;
"data fetch")
    note "$* in $PWD"
    exit 2
    ;;
theory*)
    note "$*"
    exit "${FAKE_CODE:-0}"
    ;;
report*)
    note "report $*"
    mkdir -p "$(option --out "$@")" && echo "the table"
    exit 0
    ;;
esac

method=$(option --method "$@")
seed=$(option --seed "$@")
out=$(option --out "$@")
run="$task/$method/seed-$seed"
case " $* " in *" --calibrate "*)
    echo '{"updates_per_s":100.0,"anchor_updates_per_s":1000.0,"total_updates":360000,"anchor_updates":3600}'
    exit 0
    ;;
esac

device=$(option --device "$@")
# As `spar train` records it, which says nothing of it for the CPU's old records.
case "$device" in none) given="" recorded="" ;;
*) given=" device=$device" recorded=",\"device\":\"$device\"" ;;
esac
note "start $run$given anchor=$(option --anchor "$@") threads=$RAYON_NUM_THREADS"
if [ -f "$out/DONE" ]; then
    echo "error: $out was made from other data" >&2
    exit 1
fi
echo "training $run" >&2
case "$run" in ${FAKE_FAIL:-nothing})
    echo "error: the loss is not finite" >&2
    echo "hint: see diagnostic.json" >&2
    exit 1
    ;;
esac
echo '{"done":0,"total":2,"phase":"train"}'
case "$run" in ${FAKE_SLOW:-nothing})
    # Ends when nobody reads its progress any more, as `spar train` does.
    trap '' PIPE
    while echo '{"done":1,"total":2,"phase":"train"}' 2>/dev/null; do sleep 0.05; done
    note "unheard $run"
    exit 1
    ;;
esac
mkdir -p "$out"
case "$device" in none) computed=cpu ;; *) computed=$device ;; esac
spec "$task" "$method" "$seed" "$computed" >"$out/spec.json"
cat >"$out/DONE" <<RECORD
{"suite":"fake","preset":"quick","task":"$task","method":"$method","seed":$seed,"env":"hopper",
"dataset":{"id":"$task-local","origin":"local","sha256":"feed","rows":7},"returns":[1.0],
"eval_seed":1,"updates":2,"anchor_updates":2,"wall_s":0.1,"commit":"unknown",
"mujoco_version":"none","threads":1,"command":"none"$recorded}
RECORD
note "end $run"
