# Completes llmasos in bash 4.3 or later.
# Made by tools/make_completions.py from the commands and from tools/completions/llmasos.bash.in.

# What may follow the command $1: the kinds of its arguments, and its options, NAME=KIND where they take a value.
# A kind is a list of words, or @models, @references, @tasks, @files or @text.
_llmasos_grammar() {
    case $1 in
        '')
            arguments='run,chat,batch,tokens,embed,rerank,serve,ps,stop,pull,list,show,create,cp,rm,import,verify,prune,convert,quantize,export,eval'
            options='
                --help
                --version
            '
            ;;
        run)
            arguments='@references @text'
            options='
                -f=@files
                --file=@files
                --lines
                --system=@text
                --raw
                --format=json
                --schema=@files
                --regex=@text
                --extract=code,json
                --json
                --stats
                -n=@text
                --count=@text
                -o=@files
                --output=@files
                --prompt-cache=@files
                --logprobs=@text
                --timeout=@text
                --lock=@text
                --task=@tasks
                --to=@text
                --context=@files
                --set=@text
                --list-tasks
                --offline
                -v
                --verbose
                --server=@text
                --think
                --no-think
                --max-tokens=@text
                --max-seconds=@text
                --stop=@text
                --ignore-eos
                --no-ignore-eos
                --on-overflow=error,truncate,shift,summarize
                --temperature=@text
                --top-k=@text
                --top-p=@text
                --min-p=@text
                --seed=@text
                --typical-p=@text
                --top-n-sigma=@text
                --repeat-penalty=@text
                --repeat-last-n=@text
                --presence-penalty=@text
                --frequency-penalty=@text
                --dry-multiplier=@text
                --dry-base=@text
                --dry-allowed-length=@text
                --dry-penalty-last-n=@text
                --dry-sequence-breakers=@text
                --xtc-probability=@text
                --xtc-threshold=@text
                --mirostat=@text
                --mirostat-tau=@text
                --mirostat-eta=@text
                --logit-bias=@text
                --debias=off,self
                --debias-strength=@text
                --debias-attributes=@text
                --grammar=@files
                --num-beams=@text
                --length-penalty=@text
                --early-stopping=true,false,never
                --context-length=@text
                --threads=@text
                --gpu-layers=@text
                --kv-type=f16,bf16,f32,q8_0,q5_1,q5_0,q4_1,q4_0
                --flash-attention
                --no-flash-attention
                --deterministic
                --no-deterministic
                --speculation
                --no-speculation
                --shared-cache
                --no-shared-cache
                --draft=@references
                --batch-size=@text
                --lora=@text
                --control-vector=@text
                --control-layers=@text
                --mmap
                --no-mmap
                --mlock
                --no-mlock
                --help
            '
            ;;
        chat)
            arguments='@references'
            options='
                -c
                --continue
                --session=@text
                --no-save
                --system=@text
                --offline
                -v
                --verbose
                --server=@text
                --think
                --no-think
                --max-tokens=@text
                --max-seconds=@text
                --stop=@text
                --ignore-eos
                --no-ignore-eos
                --on-overflow=error,truncate,shift,summarize
                --temperature=@text
                --top-k=@text
                --top-p=@text
                --min-p=@text
                --seed=@text
                --typical-p=@text
                --top-n-sigma=@text
                --repeat-penalty=@text
                --repeat-last-n=@text
                --presence-penalty=@text
                --frequency-penalty=@text
                --dry-multiplier=@text
                --dry-base=@text
                --dry-allowed-length=@text
                --dry-penalty-last-n=@text
                --dry-sequence-breakers=@text
                --xtc-probability=@text
                --xtc-threshold=@text
                --mirostat=@text
                --mirostat-tau=@text
                --mirostat-eta=@text
                --logit-bias=@text
                --debias=off,self
                --debias-strength=@text
                --debias-attributes=@text
                --grammar=@files
                --num-beams=@text
                --length-penalty=@text
                --early-stopping=true,false,never
                --context-length=@text
                --threads=@text
                --gpu-layers=@text
                --kv-type=f16,bf16,f32,q8_0,q5_1,q5_0,q4_1,q4_0
                --flash-attention
                --no-flash-attention
                --deterministic
                --no-deterministic
                --speculation
                --no-speculation
                --shared-cache
                --no-shared-cache
                --draft=@references
                --batch-size=@text
                --lora=@text
                --control-vector=@text
                --control-layers=@text
                --mmap
                --no-mmap
                --mlock
                --no-mlock
                --help
            '
            ;;
        batch)
            arguments='@references'
            options='
                -i=@files
                --input=@files
                -o=@files
                --output=@files
                --input-format=jsonl,csv,tsv,lines
                --template=@text
                --system=@text
                --raw
                --format=json
                --schema=@files
                --regex=@text
                --parallel=@text
                --errors=@files
                --max-errors=@text
                --retries=@text
                --json
                --offline
                -v
                --verbose
                --server=@text
                --think
                --no-think
                --max-tokens=@text
                --max-seconds=@text
                --stop=@text
                --ignore-eos
                --no-ignore-eos
                --on-overflow=error,truncate,shift,summarize
                --temperature=@text
                --top-k=@text
                --top-p=@text
                --min-p=@text
                --seed=@text
                --typical-p=@text
                --top-n-sigma=@text
                --repeat-penalty=@text
                --repeat-last-n=@text
                --presence-penalty=@text
                --frequency-penalty=@text
                --dry-multiplier=@text
                --dry-base=@text
                --dry-allowed-length=@text
                --dry-penalty-last-n=@text
                --dry-sequence-breakers=@text
                --xtc-probability=@text
                --xtc-threshold=@text
                --mirostat=@text
                --mirostat-tau=@text
                --mirostat-eta=@text
                --logit-bias=@text
                --debias=off,self
                --debias-strength=@text
                --debias-attributes=@text
                --grammar=@files
                --context-length=@text
                --threads=@text
                --gpu-layers=@text
                --kv-type=f16,bf16,f32,q8_0,q5_1,q5_0,q4_1,q4_0
                --flash-attention
                --no-flash-attention
                --deterministic
                --no-deterministic
                --speculation
                --no-speculation
                --shared-cache
                --no-shared-cache
                --draft=@references
                --batch-size=@text
                --lora=@text
                --control-vector=@text
                --control-layers=@text
                --mmap
                --no-mmap
                --mlock
                --no-mlock
                --help
            '
            ;;
        tokens)
            arguments='@references @text'
            options='
                -f=@files
                --file=@files
                --count
                --special
                --json
                --offline
                --server=@text
                --help
            '
            ;;
        embed)
            arguments='@references @text'
            options='
                -f=@files
                --file=@files
                --lines
                --raw
                --json
                --offline
                --server=@text
                --context-length=@text
                --threads=@text
                --gpu-layers=@text
                --kv-type=f16,bf16,f32,q8_0,q5_1,q5_0,q4_1,q4_0
                --flash-attention
                --no-flash-attention
                --deterministic
                --no-deterministic
                --speculation
                --no-speculation
                --shared-cache
                --no-shared-cache
                --draft=@references
                --batch-size=@text
                --lora=@text
                --control-vector=@text
                --control-layers=@text
                --mmap
                --no-mmap
                --mlock
                --no-mlock
                --help
            '
            ;;
        rerank)
            arguments='@references @text'
            options='
                -f=@files
                --file=@files
                -n=@text
                --top=@text
                --json
                --offline
                --server=@text
                --context-length=@text
                --threads=@text
                --gpu-layers=@text
                --kv-type=f16,bf16,f32,q8_0,q5_1,q5_0,q4_1,q4_0
                --flash-attention
                --no-flash-attention
                --deterministic
                --no-deterministic
                --speculation
                --no-speculation
                --shared-cache
                --no-shared-cache
                --draft=@references
                --batch-size=@text
                --lora=@text
                --control-vector=@text
                --control-layers=@text
                --mmap
                --no-mmap
                --mlock
                --no-mlock
                --help
            '
            ;;
        serve)
            arguments=''
            options='
                --host=@text
                --port=@text
                --socket=@text
                --tls-certificate=@text
                --tls-key=@text
                --api-key=@text
                --api-key-file=@text
                --insecure
                --no-insecure
                --allow-host=@text
                --allow-origin=@text
                --keep-alive=@text
                --parallel=@text
                --max-models=@text
                --max-queue=@text
                --max-requests-per-key=@text
                --max-body=@text
                --max-load-seconds=@text
                --max-request-seconds=@text
                --pull
                --no-pull
                --help
            '
            ;;
        ps)
            arguments=''
            options='
                --json
                --server=@text
                --help
            '
            ;;
        stop)
            arguments='@models'
            options='
                --server=@text
                --help
            '
            ;;
        pull)
            arguments='@references'
            options='
                --as=@text
                --json
                --offline
                --help
            '
            ;;
        list)
            arguments='@models'
            options='
                --json
                --help
            '
            ;;
        show)
            arguments='@models'
            options='
                --json
                --template
                --modelfile
                --license
                --help
            '
            ;;
        create)
            arguments='@text'
            options='
                -f=@files
                --file=@files
                -t=F32,F16,Q4_0,Q4_1,Q8_0,Q5_0,Q5_1,Q2_K,Q3_K_S,Q3_K_M,Q3_K_L,Q4_K_S,Q4_K_M,Q5_K_S,Q5_K_M,Q6_K,IQ2_XXS,IQ2_XS,Q2_K_S,IQ3_XS,IQ3_XXS,IQ1_S,IQ4_NL,IQ3_S,IQ3_M,IQ2_S,IQ2_M,IQ4_XS,IQ1_M,BF16,TQ1_0,TQ2_0,MXFP4_MOE,Q1_0,Q2_0
                --type=F32,F16,Q4_0,Q4_1,Q8_0,Q5_0,Q5_1,Q2_K,Q3_K_S,Q3_K_M,Q3_K_L,Q4_K_S,Q4_K_M,Q5_K_S,Q5_K_M,Q6_K,IQ2_XXS,IQ2_XS,Q2_K_S,IQ3_XS,IQ3_XXS,IQ1_S,IQ4_NL,IQ3_S,IQ3_M,IQ2_S,IQ2_M,IQ4_XS,IQ1_M,BF16,TQ1_0,TQ2_0,MXFP4_MOE,Q1_0,Q2_0
                --json
                --offline
                --help
            '
            ;;
        cp)
            arguments='@models @text'
            options='
                --help
            '
            ;;
        rm)
            arguments='@models...'
            options='
                --help
            '
            ;;
        import)
            arguments='@files...'
            options='
                --from=ollama,huggingface,lmstudio
                --as=@text
                --dry-run
                --json
                --help
            '
            ;;
        verify)
            arguments='@models...'
            options='
                --json
                --help
            '
            ;;
        prune)
            arguments=''
            options='
                --dry-run
                --older-than=@text
                --json
                --help
            '
            ;;
        convert)
            arguments='@files'
            options='
                --type=F32,F16,Q4_0,Q4_1,Q8_0,Q5_0,Q5_1,Q2_K,Q3_K_S,Q3_K_M,Q3_K_L,Q4_K_S,Q4_K_M,Q5_K_S,Q5_K_M,Q6_K,IQ2_XXS,IQ2_XS,Q2_K_S,IQ3_XS,IQ3_XXS,IQ1_S,IQ4_NL,IQ3_S,IQ3_M,IQ2_S,IQ2_M,IQ4_XS,IQ1_M,BF16,TQ1_0,TQ2_0,MXFP4_MOE,Q1_0,Q2_0
                -t=F32,F16,Q4_0,Q4_1,Q8_0,Q5_0,Q5_1,Q2_K,Q3_K_S,Q3_K_M,Q3_K_L,Q4_K_S,Q4_K_M,Q5_K_S,Q5_K_M,Q6_K,IQ2_XXS,IQ2_XS,Q2_K_S,IQ3_XS,IQ3_XXS,IQ1_S,IQ4_NL,IQ3_S,IQ3_M,IQ2_S,IQ2_M,IQ4_XS,IQ1_M,BF16,TQ1_0,TQ2_0,MXFP4_MOE,Q1_0,Q2_0
                --as=@text
                --output=@files
                -o=@files
                --split-max-size=@text
                --imatrix=auto
                --lora=@files
                --base=@references
                --json
                --offline
                -v
                --verbose
                --help
            '
            ;;
        quantize)
            arguments='@references'
            options='
                --type=F32,F16,Q4_0,Q4_1,Q8_0,Q5_0,Q5_1,Q2_K,Q3_K_S,Q3_K_M,Q3_K_L,Q4_K_S,Q4_K_M,Q5_K_S,Q5_K_M,Q6_K,IQ2_XXS,IQ2_XS,Q2_K_S,IQ3_XS,IQ3_XXS,IQ1_S,IQ4_NL,IQ3_S,IQ3_M,IQ2_S,IQ2_M,IQ4_XS,IQ1_M,BF16,TQ1_0,TQ2_0,MXFP4_MOE,Q1_0,Q2_0
                -t=F32,F16,Q4_0,Q4_1,Q8_0,Q5_0,Q5_1,Q2_K,Q3_K_S,Q3_K_M,Q3_K_L,Q4_K_S,Q4_K_M,Q5_K_S,Q5_K_M,Q6_K,IQ2_XXS,IQ2_XS,Q2_K_S,IQ3_XS,IQ3_XXS,IQ1_S,IQ4_NL,IQ3_S,IQ3_M,IQ2_S,IQ2_M,IQ4_XS,IQ1_M,BF16,TQ1_0,TQ2_0,MXFP4_MOE,Q1_0,Q2_0
                --as=@text
                --output=@files
                -o=@files
                --imatrix=auto
                --imatrix-only
                -f=@text
                --file=@text
                --allow-requantize
                --keep-split
                --dry-run
                --tensor-type=@text
                --output-type=F32,F16,BF16,IQ1_M,IQ1_S,IQ2_S,IQ2_XS,IQ2_XXS,IQ3_S,IQ3_XXS,IQ4_NL,IQ4_XS,MXFP4,NVFP4,Q1_0,Q2_0,Q2_K,Q3_K,Q4_0,Q4_1,Q4_K,Q5_0,Q5_1,Q5_K,Q6_K,Q8_0,TQ1_0,TQ2_0
                --embedding-type=F32,F16,BF16,IQ1_M,IQ1_S,IQ2_S,IQ2_XS,IQ2_XXS,IQ3_S,IQ3_XXS,IQ4_NL,IQ4_XS,MXFP4,NVFP4,Q1_0,Q2_0,Q2_K,Q3_K,Q4_0,Q4_1,Q4_K,Q5_0,Q5_1,Q5_K,Q6_K,Q8_0,TQ1_0,TQ2_0
                --pure
                --prune-layers=@text
                --json
                --offline
                -v
                --verbose
                --check
                --no-check
                --check-text=@files
                --max-kld=@text
                --max-ppl-increase=@text
                --sweep=@text
                --plot=@files
                --pick
                --no-pick
                --target-bpw=@text
                --target-size=@text
                --help
            '
            ;;
        export)
            arguments='@references @files'
            options='
                --type=bf16,f32,f16
                -t=bf16,f32,f16
                --json
                --offline
                --help
            '
            ;;
        eval)
            arguments='perplexity,compare,choice,bias,steer,list,show'
            options='
                --help
            '
            ;;
        'eval perplexity')
            arguments='@references'
            options='
                -f=@files
                --file=@files
                --context=@text
                --mode=chunks,rolling
                --stride=@text
                --json
                --offline
                -v
                --verbose
                --threads=@text
                --gpu-layers=@text
                --kv-type=f16,bf16,f32,q8_0,q5_1,q5_0,q4_1,q4_0
                --flash-attention
                --no-flash-attention
                --batch-size=@text
                --lora=@text
                --control-vector=@text
                --control-layers=@text
                --mmap
                --no-mmap
                --mlock
                --no-mlock
                --debias=off,self
                --debias-strength=@text
                --debias-attributes=@text
                --help
            '
            ;;
        'eval compare')
            arguments='@references...'
            options='
                -f=@files
                --file=@files
                --context=@text
                --mode=chunks,rolling
                --stride=@text
                --fail-if=@text
                --plot=@files
                --json
                --offline
                -v
                --verbose
                --threads=@text
                --gpu-layers=@text
                --kv-type=f16,bf16,f32,q8_0,q5_1,q5_0,q4_1,q4_0
                --flash-attention
                --no-flash-attention
                --batch-size=@text
                --mmap
                --no-mmap
                --mlock
                --no-mlock
                --help
            '
            ;;
        'eval choice')
            arguments='@references'
            options='
                -f=@files
                --file=@files
                --task=@text
                --data=@files
                --limit=@text
                --json
                --offline
                -v
                --verbose
                --threads=@text
                --gpu-layers=@text
                --kv-type=f16,bf16,f32,q8_0,q5_1,q5_0,q4_1,q4_0
                --flash-attention
                --no-flash-attention
                --batch-size=@text
                --lora=@text
                --control-vector=@text
                --control-layers=@text
                --mmap
                --no-mmap
                --mlock
                --no-mlock
                --debias=off,self
                --debias-strength=@text
                --debias-attributes=@text
                --help
            '
            ;;
        'eval bias')
            arguments='@references...'
            options='
                --set=@text
                --data=@files
                --category=@text
                --limit=@text
                --compare
                --json
                --offline
                -v
                --verbose
                --threads=@text
                --gpu-layers=@text
                --kv-type=f16,bf16,f32,q8_0,q5_1,q5_0,q4_1,q4_0
                --flash-attention
                --no-flash-attention
                --batch-size=@text
                --lora=@text
                --control-vector=@text
                --control-layers=@text
                --mmap
                --no-mmap
                --mlock
                --no-mlock
                --debias=off,self
                --debias-strength=@text
                --debias-attributes=@text
                --help
            '
            ;;
        'eval steer')
            arguments='@references'
            options='
                -f=@files
                --file=@files
                --as=@text
                -o=@files
                --output=@files
                --method=mean,pca
                --json
                --offline
                -v
                --verbose
                --threads=@text
                --gpu-layers=@text
                --kv-type=f16,bf16,f32,q8_0,q5_1,q5_0,q4_1,q4_0
                --flash-attention
                --no-flash-attention
                --batch-size=@text
                --lora=@text
                --control-vector=@text
                --control-layers=@text
                --mmap
                --no-mmap
                --mlock
                --no-mlock
                --help
            '
            ;;
        'eval list')
            arguments=''
            options='
                --kind=@text
                --plot
                --html=@files
                --json
                --help
            '
            ;;
        'eval show')
            arguments='@text'
            options='
                --html=@files
                --json
                --help
            '
            ;;
        *)
            arguments=''
            options=''
            ;;
    esac
}

_llmasos() {
    local IFS=$' \t\n'
    local words=() current='' program command='' kind='' ended='' position=0 arguments options word
    local groups='eval'
    COMPREPLY=()
    _llmasos_split
    program=${words[0]/#\~/$HOME}
    _llmasos_grammar ''
    for word in "${words[@]:1}"; do
        if [[ $kind ]]; then
            kind='' # the value of the option before it
        elif [[ -z $ended && $word == -- ]]; then
            ended=yes
        elif [[ -z $ended && $word == -?* ]]; then
            _llmasos_set_kind "$word"
        elif [[ -z $command || " $groups " == *" $command "* ]]; then
            command=${command:+$command }$word
            _llmasos_grammar "$command"
        else
            position=$((position + 1))
        fi
    done
    if [[ $kind ]]; then
        _llmasos_offer "$kind" "$current"
    elif [[ -z $ended && $current == --*=* ]]; then
        _llmasos_set_kind "${current%%=*}"
        _llmasos_offer "$kind" "${current#*=}" "${current%%=*}="
    elif [[ -z $ended && $current == -* ]]; then
        words=($options)
        _llmasos_keep "$current" '' "${words[@]%%=*}"
    else
        words=($arguments)
        [[ $arguments == *... && $position -ge ${#words[@]} ]] && position=$((${#words[@]} - 1))
        kind=${words[position]}
        _llmasos_offer "${kind%...}" "$current"
    fi
}

# Puts the words before the cursor into `words`, the one at the cursor into `current`. Bash itself breaks words at the
# letters of COMP_WORDBREAKS: llama3.2:1b is three to it, and one here.
_llmasos_split() {
    local rest=${COMP_LINE:0:COMP_POINT} piece i
    for ((i = 0; i < COMP_CWORD; i++)); do
        piece=${COMP_WORDS[i]}
        if [[ $i -eq 0 || $rest == [[:space:]]* ]]; then
            words+=("$piece")
        else
            words[-1]+=$piece
        fi
        rest=${rest#"${rest%%[![:space:]]*}"}
        rest=${rest#"$piece"}
    done
    if [[ $rest == [[:space:]]* ]]; then
        current=${rest#"${rest%%[![:space:]]*}"}
    else
        current=${words[-1]}$rest
        unset 'words[-1]'
    fi
}

# Sets `kind` to that of the value which the option $1 takes; empty if it takes none.
_llmasos_set_kind() {
    local option
    kind=''
    for option in $options; do
        [[ $option == "$1="* ]] && kind=${option#*=}
    done
}

# Offers what is of kind $1 and begins with $2; $3 is what stands before that in the same word.
_llmasos_offer() {
    local names=() typed=${2#[\"\']}
    case $1 in
        '' | @text) ;;
        @files)
            compopt -o default # bash's own way with file names
            ;;
        @models | @references | @tasks)
            if [[ $1 == @references && $typed == [./\~]* ]]; then
                _llmasos_offer_gguf "${typed//\\/}" "$3"
            else
                mapfile -t names < <("$program" --complete "${1#@}" "$typed" 2>/dev/null)
                _llmasos_keep '' "$3" "${names[@]}"
            fi
            ;;
        *)
            IFS=, read -ra names <<<"$1"
            _llmasos_keep "$typed" "$3" "${names[@]}"
            ;;
    esac
}

_llmasos_offer_gguf() {
    local names
    compopt -o filenames
    mapfile -t names < <(compgen -d -- "$1"; compgen -f -X '!*.[gG][gG][uU][fF]' -- "$1")
    _llmasos_keep '' "$2" "${names[@]}"
}

# Adds those of $3... that begin with $1, whatever the case, to COMPREPLY, $2 before each. Bash replaces only what stands after the last of
# its word breaks, so what it keeps is cut off, unless a quote forbids breaks.
_llmasos_keep() {
    local typed=$1 before=$2 name cut='' breaks=${COMP_WORDBREAKS//[^:=]/}
    shift 2
    [[ $breaks && $current != [\"\']* && $current == *["$breaks"]* ]] && cut=${current%"${current##*["$breaks"]}"}
    for name; do
        [[ ${name,,} == "${typed,,}"* ]] && name=$before$name && COMPREPLY+=("${name:${#cut}}")
    done
}

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 403)); then
    complete -F _llmasos llmasos
fi
