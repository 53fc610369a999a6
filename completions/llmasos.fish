# Completes llmasos in fish.
# Made by tools/make_completions.py from the commands and from tools/completions/llmasos.fish.in.

# The options of the command $argv[1] that take a value.
function __llmasos_valued
    switch "$argv[1]"
        case run
            string split ' ' -- '-f --file --system --format --schema --regex -n --count -o --output --prompt-cache --logprobs --max-tokens --max-seconds --stop --on-overflow --temperature --top-k --top-p --min-p --seed --typical-p --top-n-sigma --repeat-penalty --repeat-last-n --presence-penalty --frequency-penalty --dry-multiplier --dry-base --dry-allowed-length --dry-penalty-last-n --dry-sequence-breakers --xtc-probability --xtc-threshold --mirostat --mirostat-tau --mirostat-eta --logit-bias --grammar --num-beams --length-penalty --early-stopping --context-length --threads --gpu-layers --kv-type --draft --batch-size --lora'
        case batch
            string split ' ' -- '-i --input -o --output --input-format --template --system --parallel --errors --max-errors --retries --max-tokens --max-seconds --stop --on-overflow --temperature --top-k --top-p --min-p --seed --typical-p --top-n-sigma --repeat-penalty --repeat-last-n --presence-penalty --frequency-penalty --dry-multiplier --dry-base --dry-allowed-length --dry-penalty-last-n --dry-sequence-breakers --xtc-probability --xtc-threshold --mirostat --mirostat-tau --mirostat-eta --logit-bias --grammar --context-length --threads --gpu-layers --kv-type --draft --batch-size --lora'
        case tokens
            string split ' ' -- '-f --file'
        case embed
            string split ' ' -- '-f --file --context-length --threads --gpu-layers --kv-type --draft --batch-size --lora'
        case rerank
            string split ' ' -- '-f --file -n --top --context-length --threads --gpu-layers --kv-type --draft --batch-size --lora'
        case pull
            string split ' ' -- '--as'
        case create
            string split ' ' -- '-f --file -t --type'
        case import
            string split ' ' -- '--from --as'
        case prune
            string split ' ' -- '--older-than'
        case convert
            string split ' ' -- '--type -t --as --output -o --split-max-size --lora --base'
        case quantize
            string split ' ' -- '--type -t --as --output -o --tensor-type --output-type --embedding-type --prune-layers'
        case export
            string split ' ' -- '--type -t'
    end
end

# The words before the cursor, from the program on: what stands before it sets variables.
function __llmasos_words
    set -l words (commandline -opc)
    while set -q words[1]; and string match -q -- '*=*' $words[1]
        set -e words[1]
    end
    printf '%s\n' $words
end

# Succeeds where the command is $argv[1] and, if $argv[2] is given, where its argument of that number stands, `2-`
# meaning the second or a later one.
function __llmasos_at
    set -l words (__llmasos_words)
    set -e words[1]
    set -l command ''
    set -l position 1
    set -l ended no
    set -l valued
    while set -q words[1]
        if test $ended = no; and test "$words[1]" = --
            set ended yes
        else if test $ended = no; and string match -qr -- '^-.' $words[1]
            contains -- $words[1] $valued; and set -e words[2]
        else if test -z "$command"
            set command $words[1]
            set valued (__llmasos_valued $command)
        else
            set position (math $position + 1)
        end
        set -e words[1]
    end
    test "$command" = "$argv[1]"; or return 1
    switch "$argv[2]"
        case ''
        case '*-'
            test $position -ge (string trim -c - -- $argv[2])
        case '*'
            test $position = $argv[2]
    end
end

function __llmasos_names
    set -l program (__llmasos_words)[1]
    set program (string replace -r '^~' $HOME -- $program)
    $program --complete $argv[1] 2>/dev/null
end

function __llmasos_models
    __llmasos_names models
end

function __llmasos_references
    set -l typed (commandline -ct)
    if string match -qr -- '^[./~]' $typed
        complete -C "__llmasos_no_such_command $typed" | string match -ri -- '^.*(?:/|\.gguf)$'
    else
        __llmasos_names references
    end
end

complete -c llmasos -f
complete -c llmasos -n "__llmasos_at ''" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at ''" -l version -d 'Show the version'
complete -c llmasos -n "__llmasos_at ''" -a run -d 'Answers one prompt. The model is pulled first if it is not here'
complete -c llmasos -n "__llmasos_at ''" -a batch -d 'Answers all prompts of a file. Run again after any kind of end, it goes on where it was'
complete -c llmasos -n "__llmasos_at ''" -a tokens -d 'Splits a text into a model\'s tokens: how many there are is what contexts and prices are counted in'
complete -c llmasos -n "__llmasos_at ''" -a embed -d 'Turns texts into vectors with an embedding model: one line of numbers in JSON for each text'
complete -c llmasos -n "__llmasos_at ''" -a rerank -d 'Sorts lines by how well they answer a query, with a reranker: a score and the line, the best first'
complete -c llmasos -n "__llmasos_at ''" -a pull -d 'Pulls a model into the store'
complete -c llmasos -n "__llmasos_at ''" -a list -d 'Lists the installed models'
complete -c llmasos -n "__llmasos_at ''" -a show -d 'Shows one installed model: where its file is, what it is, where it came from'
complete -c llmasos -n "__llmasos_at ''" -a create -d 'Makes a model by a recipe: another one\'s weights with a system prompt, parameters, an adapter of its own'
complete -c llmasos -n "__llmasos_at ''" -a cp -d 'Gives a model a second name; its files are shared and take no more room'
complete -c llmasos -n "__llmasos_at ''" -a rm -d 'Removes models, and their files unless another model uses them'
complete -c llmasos -n "__llmasos_at ''" -a import -d 'Takes in models from this disk. Files are linked where the file system allows, never moved or changed'
complete -c llmasos -n "__llmasos_at ''" -a verify -d 'Checks that the installed files are what was pulled'
complete -c llmasos -n "__llmasos_at ''" -a prune -d 'Deletes files that no model uses and downloads that were never finished'
complete -c llmasos -n "__llmasos_at ''" -a convert -d 'Converts a Hugging Face checkpoint (safetensors or PyTorch\'s own format) to GGUF, quantized on the way if asked'
complete -c llmasos -n "__llmasos_at ''" -a quantize -d 'Quantizes a model: a stored one, a GGUF file or a checkpoint, into any of llama.cpp\'s types'
complete -c llmasos -n "__llmasos_at ''" -a export -d 'Makes a Hugging Face checkpoint of a GGUF, its weights dequantized: for transformers, PEFT and other trainers'
complete -c llmasos -n "__llmasos_at run" -s f -r -F -d 'Put this file\'s text before the prompt. Again for more'
complete -c llmasos -n "__llmasos_at run" -l file -r -F -d 'Put this file\'s text before the prompt. Again for more'
complete -c llmasos -n "__llmasos_at run" -l system -x -d 'What the model should be and do'
complete -c llmasos -n "__llmasos_at run" -l raw -d 'No chat template: the model goes on from the prompt as it is'
complete -c llmasos -n "__llmasos_at run" -l format -x -a 'json' -d '`json`: the answer is a JSON object'
complete -c llmasos -n "__llmasos_at run" -l schema -r -F -d 'The answer fits this JSON schema: a file, JSON, or \'name, age int\''
complete -c llmasos -n "__llmasos_at run" -l regex -x -d 'The answer as a whole matches this regular expression'
complete -c llmasos -n "__llmasos_at run" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at run" -l stats -d 'Say on standard error how fast it went'
complete -c llmasos -n "__llmasos_at run" -s n -x -d 'How many answers'
complete -c llmasos -n "__llmasos_at run" -l count -x -d 'How many answers'
complete -c llmasos -n "__llmasos_at run" -s o -r -F -d 'Write the answer to this file instead'
complete -c llmasos -n "__llmasos_at run" -l output -r -F -d 'Write the answer to this file instead'
complete -c llmasos -n "__llmasos_at run" -l prompt-cache -r -F -d 'Keep in this file what was read of the prompt, and go on from there next time'
complete -c llmasos -n "__llmasos_at run" -l logprobs -x -d 'With --json: each token\'s log-probability, and those of so many of the likeliest in its place'
complete -c llmasos -n "__llmasos_at run" -l offline -d 'Never use the network'
complete -c llmasos -n "__llmasos_at run" -s v -d 'Say what was chosen and why, and show the engine\'s log'
complete -c llmasos -n "__llmasos_at run" -l verbose -d 'Say what was chosen and why, and show the engine\'s log'
complete -c llmasos -n "__llmasos_at run" -l think -d 'Let the model reason before it answers, or not, as far as it knows how'
complete -c llmasos -n "__llmasos_at run" -l no-think -d 'Let the model reason before it answers, or not, as far as it knows how'
complete -c llmasos -n "__llmasos_at run" -l max-tokens -x -d 'Longest answer, in tokens'
complete -c llmasos -n "__llmasos_at run" -l max-seconds -x -d 'End the answer after so many seconds'
complete -c llmasos -n "__llmasos_at run" -l stop -x -d 'End the answer before this text. Again for more'
complete -c llmasos -n "__llmasos_at run" -l ignore-eos -d 'Go on after the model\'s own end of the answer'
complete -c llmasos -n "__llmasos_at run" -l no-ignore-eos -d 'Go on after the model\'s own end of the answer'
complete -c llmasos -n "__llmasos_at run" -l on-overflow -x -a 'error truncate shift summarize' -d 'If the context is too short: refuse, cut the prompt\'s beginning, forget the oldest, or summarize. (default error)'
complete -c llmasos -n "__llmasos_at run" -l temperature -x -d 'Randomness; 0 always takes the likeliest token. (default 0.8)'
complete -c llmasos -n "__llmasos_at run" -l top-k -x -d 'Choose among the K likeliest tokens; 0 for all. (default 40)'
complete -c llmasos -n "__llmasos_at run" -l top-p -x -d 'Choose among the likeliest tokens that together have this probability. (default 0.95)'
complete -c llmasos -n "__llmasos_at run" -l min-p -x -d 'Leave out tokens less likely than this share of the likeliest. (default 0.05)'
complete -c llmasos -n "__llmasos_at run" -l seed -x -d 'Start of the random numbers; the same seed gives the same choices'
complete -c llmasos -n "__llmasos_at run" -l typical-p -x -d 'Locally typical sampling; 1 is off. (default 1)'
complete -c llmasos -n "__llmasos_at run" -l top-n-sigma -x -d 'Keep tokens within N standard deviations of the best; -1 is off. (default -1)'
complete -c llmasos -n "__llmasos_at run" -l repeat-penalty -x -d 'Make tokens that stand in the last ones less likely; 1 is off. (default 1)'
complete -c llmasos -n "__llmasos_at run" -l repeat-last-n -x -d 'How many last tokens the penalties look at; -1 for all. (default 64)'
complete -c llmasos -n "__llmasos_at run" -l presence-penalty -x -d 'Taken off a token that has occurred. (default 0)'
complete -c llmasos -n "__llmasos_at run" -l frequency-penalty -x -d 'Taken off for each time a token has occurred. (default 0)'
complete -c llmasos -n "__llmasos_at run" -l dry-multiplier -x -d 'DRY: strength against repeated runs of tokens; 0 is off. (default 0)'
complete -c llmasos -n "__llmasos_at run" -l dry-base -x -d 'DRY: how fast the penalty grows with a run\'s length. (default 1.75)'
complete -c llmasos -n "__llmasos_at run" -l dry-allowed-length -x -d 'DRY: runs up to this long are free. (default 2)'
complete -c llmasos -n "__llmasos_at run" -l dry-penalty-last-n -x -d 'DRY: how many last tokens it looks at; -1 for all. (default -1)'
complete -c llmasos -n "__llmasos_at run" -l dry-sequence-breakers -x -d 'DRY: strings that end a run. (default (\'\\n\', \':\', \'"\', \'*\'))'
complete -c llmasos -n "__llmasos_at run" -l xtc-probability -x -d 'XTC: how often the likeliest tokens are left out; 0 is off. (default 0)'
complete -c llmasos -n "__llmasos_at run" -l xtc-threshold -x -d 'XTC: what counts as likely. (default 0.1)'
complete -c llmasos -n "__llmasos_at run" -l mirostat -x -d 'Mirostat: 0 is off, 1 or 2 its version; replaces top-k, top-p and their like. (default 0)'
complete -c llmasos -n "__llmasos_at run" -l mirostat-tau -x -d 'Mirostat: the surprise to aim at. (default 5)'
complete -c llmasos -n "__llmasos_at run" -l mirostat-eta -x -d 'Mirostat: how fast it adapts. (default 0.1)'
complete -c llmasos -n "__llmasos_at run" -l logit-bias -x -d 'TOKEN=BIAS: add to a token\'s logit, `-inf` forbids it. Again for more'
complete -c llmasos -n "__llmasos_at run" -l grammar -x -d 'GBNF grammar that the answer must keep to: text, or a .gbnf file'
complete -c llmasos -n "__llmasos_at run" -l num-beams -x -d 'Beam search: follow so many likeliest answers at a time. (default 1)'
complete -c llmasos -n "__llmasos_at run" -l length-penalty -x -d 'Of a beam search: above 0 prefers long answers, below 0 short ones. (default 1)'
complete -c llmasos -n "__llmasos_at run" -l early-stopping -x -a 'true false never' -d 'End a beam search when as many are finished as are followed (true), when a better one is unlikely (false), or when none can come (never). (default false)'
complete -c llmasos -n "__llmasos_at run" -l context-length -x -d 'Tokens that prompt and answer may have together'
complete -c llmasos -n "__llmasos_at run" -l threads -x -d 'Threads to compute with'
complete -c llmasos -n "__llmasos_at run" -l gpu-layers -x -d 'Layers to put on the GPU; 0 for none'
complete -c llmasos -n "__llmasos_at run" -l kv-type -x -a 'f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' -d 'How the context\'s keys and values are stored'
complete -c llmasos -n "__llmasos_at run" -l flash-attention -d 'Compute attention in the memory-saving way'
complete -c llmasos -n "__llmasos_at run" -l no-flash-attention -d 'Compute attention in the memory-saving way'
complete -c llmasos -n "__llmasos_at run" -l deterministic -d 'The same answer every time, whoever else is answered: one at a time, nothing reused, so it is slower'
complete -c llmasos -n "__llmasos_at run" -l no-deterministic -d 'The same answer every time, whoever else is answered: one at a time, nothing reused, so it is slower'
complete -c llmasos -n "__llmasos_at run" -l speculation -d 'Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)'
complete -c llmasos -n "__llmasos_at run" -l no-speculation -d 'Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)'
complete -c llmasos -n "__llmasos_at run" -l shared-cache -d 'One cache for all that is answered at a time, however long each is. Without, each has a part of it: faster for many that have nothing in common. (default on)'
complete -c llmasos -n "__llmasos_at run" -l no-shared-cache -d 'One cache for all that is answered at a time, however long each is. Without, each has a part of it: faster for many that have nothing in common. (default on)'
complete -c llmasos -n "__llmasos_at run" -l draft -x -d 'MODEL: let this smaller model of the same family guess ahead, where that pays'
complete -c llmasos -n "__llmasos_at run" -l batch-size -x -d 'Tokens of the prompt that are read at once. (default 512)'
complete -c llmasos -n "__llmasos_at run" -l lora -x -d 'NAME or NAME:SCALE: add this LoRA adapter, a stored one or a GGUF file. Again for more'
complete -c llmasos -n "__llmasos_at run" -l mmap -d 'Map the file into memory instead of reading it. (default on)'
complete -c llmasos -n "__llmasos_at run" -l no-mmap -d 'Map the file into memory instead of reading it. (default on)'
complete -c llmasos -n "__llmasos_at run" -l mlock -d 'Keep the model in memory, never swapped out'
complete -c llmasos -n "__llmasos_at run" -l no-mlock -d 'Keep the model in memory, never swapped out'
complete -c llmasos -n "__llmasos_at run" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at run 1" -a '(__llmasos_references)'
complete -c llmasos -n "__llmasos_at batch" -s i -r -F -d 'The file of prompts'
complete -c llmasos -n "__llmasos_at batch" -l input -r -F -d 'The file of prompts'
complete -c llmasos -n "__llmasos_at batch" -s o -r -F -d 'The file that gets the results, or has some'
complete -c llmasos -n "__llmasos_at batch" -l output -r -F -d 'The file that gets the results, or has some'
complete -c llmasos -n "__llmasos_at batch" -l input-format -x -a 'jsonl csv tsv lines' -d 'How the input is written; else its name tells'
complete -c llmasos -n "__llmasos_at batch" -l template -x -d 'Make prompts of fields: \'Translate: {title}\'; {line} is a plain line'
complete -c llmasos -n "__llmasos_at batch" -l system -x -d 'What the model should be and do, where no line says it'
complete -c llmasos -n "__llmasos_at batch" -l raw -d 'No chat template: the model goes on from a prompt as it is'
complete -c llmasos -n "__llmasos_at batch" -l parallel -x -d 'Answers to work on at a time; else as the memory allows'
complete -c llmasos -n "__llmasos_at batch" -l errors -r -F -d 'Write lines that fail to this file'
complete -c llmasos -n "__llmasos_at batch" -l max-errors -x -d 'End the batch when more lines than that fail'
complete -c llmasos -n "__llmasos_at batch" -l retries -x -d 'Try again so often what the engine fails of'
complete -c llmasos -n "__llmasos_at batch" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at batch" -l offline -d 'Never use the network'
complete -c llmasos -n "__llmasos_at batch" -s v -d 'Say what was chosen and why, and show the engine\'s log'
complete -c llmasos -n "__llmasos_at batch" -l verbose -d 'Say what was chosen and why, and show the engine\'s log'
complete -c llmasos -n "__llmasos_at batch" -l think -d 'Let the model reason before it answers, or not, as far as it knows how'
complete -c llmasos -n "__llmasos_at batch" -l no-think -d 'Let the model reason before it answers, or not, as far as it knows how'
complete -c llmasos -n "__llmasos_at batch" -l max-tokens -x -d 'Longest answer, in tokens'
complete -c llmasos -n "__llmasos_at batch" -l max-seconds -x -d 'End the answer after so many seconds'
complete -c llmasos -n "__llmasos_at batch" -l stop -x -d 'End the answer before this text. Again for more'
complete -c llmasos -n "__llmasos_at batch" -l ignore-eos -d 'Go on after the model\'s own end of the answer'
complete -c llmasos -n "__llmasos_at batch" -l no-ignore-eos -d 'Go on after the model\'s own end of the answer'
complete -c llmasos -n "__llmasos_at batch" -l on-overflow -x -a 'error truncate shift summarize' -d 'If the context is too short: refuse, cut the prompt\'s beginning, forget the oldest, or summarize. (default error)'
complete -c llmasos -n "__llmasos_at batch" -l temperature -x -d 'Randomness; 0 always takes the likeliest token. (default 0.8)'
complete -c llmasos -n "__llmasos_at batch" -l top-k -x -d 'Choose among the K likeliest tokens; 0 for all. (default 40)'
complete -c llmasos -n "__llmasos_at batch" -l top-p -x -d 'Choose among the likeliest tokens that together have this probability. (default 0.95)'
complete -c llmasos -n "__llmasos_at batch" -l min-p -x -d 'Leave out tokens less likely than this share of the likeliest. (default 0.05)'
complete -c llmasos -n "__llmasos_at batch" -l seed -x -d 'Start of the random numbers; the same seed gives the same choices'
complete -c llmasos -n "__llmasos_at batch" -l typical-p -x -d 'Locally typical sampling; 1 is off. (default 1)'
complete -c llmasos -n "__llmasos_at batch" -l top-n-sigma -x -d 'Keep tokens within N standard deviations of the best; -1 is off. (default -1)'
complete -c llmasos -n "__llmasos_at batch" -l repeat-penalty -x -d 'Make tokens that stand in the last ones less likely; 1 is off. (default 1)'
complete -c llmasos -n "__llmasos_at batch" -l repeat-last-n -x -d 'How many last tokens the penalties look at; -1 for all. (default 64)'
complete -c llmasos -n "__llmasos_at batch" -l presence-penalty -x -d 'Taken off a token that has occurred. (default 0)'
complete -c llmasos -n "__llmasos_at batch" -l frequency-penalty -x -d 'Taken off for each time a token has occurred. (default 0)'
complete -c llmasos -n "__llmasos_at batch" -l dry-multiplier -x -d 'DRY: strength against repeated runs of tokens; 0 is off. (default 0)'
complete -c llmasos -n "__llmasos_at batch" -l dry-base -x -d 'DRY: how fast the penalty grows with a run\'s length. (default 1.75)'
complete -c llmasos -n "__llmasos_at batch" -l dry-allowed-length -x -d 'DRY: runs up to this long are free. (default 2)'
complete -c llmasos -n "__llmasos_at batch" -l dry-penalty-last-n -x -d 'DRY: how many last tokens it looks at; -1 for all. (default -1)'
complete -c llmasos -n "__llmasos_at batch" -l dry-sequence-breakers -x -d 'DRY: strings that end a run. (default (\'\\n\', \':\', \'"\', \'*\'))'
complete -c llmasos -n "__llmasos_at batch" -l xtc-probability -x -d 'XTC: how often the likeliest tokens are left out; 0 is off. (default 0)'
complete -c llmasos -n "__llmasos_at batch" -l xtc-threshold -x -d 'XTC: what counts as likely. (default 0.1)'
complete -c llmasos -n "__llmasos_at batch" -l mirostat -x -d 'Mirostat: 0 is off, 1 or 2 its version; replaces top-k, top-p and their like. (default 0)'
complete -c llmasos -n "__llmasos_at batch" -l mirostat-tau -x -d 'Mirostat: the surprise to aim at. (default 5)'
complete -c llmasos -n "__llmasos_at batch" -l mirostat-eta -x -d 'Mirostat: how fast it adapts. (default 0.1)'
complete -c llmasos -n "__llmasos_at batch" -l logit-bias -x -d 'TOKEN=BIAS: add to a token\'s logit, `-inf` forbids it. Again for more'
complete -c llmasos -n "__llmasos_at batch" -l grammar -x -d 'GBNF grammar that the answer must keep to: text, or a .gbnf file'
complete -c llmasos -n "__llmasos_at batch" -l context-length -x -d 'Tokens that prompt and answer may have together'
complete -c llmasos -n "__llmasos_at batch" -l threads -x -d 'Threads to compute with'
complete -c llmasos -n "__llmasos_at batch" -l gpu-layers -x -d 'Layers to put on the GPU; 0 for none'
complete -c llmasos -n "__llmasos_at batch" -l kv-type -x -a 'f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' -d 'How the context\'s keys and values are stored'
complete -c llmasos -n "__llmasos_at batch" -l flash-attention -d 'Compute attention in the memory-saving way'
complete -c llmasos -n "__llmasos_at batch" -l no-flash-attention -d 'Compute attention in the memory-saving way'
complete -c llmasos -n "__llmasos_at batch" -l deterministic -d 'The same answer every time, whoever else is answered: one at a time, nothing reused, so it is slower'
complete -c llmasos -n "__llmasos_at batch" -l no-deterministic -d 'The same answer every time, whoever else is answered: one at a time, nothing reused, so it is slower'
complete -c llmasos -n "__llmasos_at batch" -l speculation -d 'Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)'
complete -c llmasos -n "__llmasos_at batch" -l no-speculation -d 'Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)'
complete -c llmasos -n "__llmasos_at batch" -l shared-cache -d 'One cache for all that is answered at a time, however long each is. Without, each has a part of it: faster for many that have nothing in common. (default on)'
complete -c llmasos -n "__llmasos_at batch" -l no-shared-cache -d 'One cache for all that is answered at a time, however long each is. Without, each has a part of it: faster for many that have nothing in common. (default on)'
complete -c llmasos -n "__llmasos_at batch" -l draft -x -d 'MODEL: let this smaller model of the same family guess ahead, where that pays'
complete -c llmasos -n "__llmasos_at batch" -l batch-size -x -d 'Tokens of the prompt that are read at once. (default 512)'
complete -c llmasos -n "__llmasos_at batch" -l lora -x -d 'NAME or NAME:SCALE: add this LoRA adapter, a stored one or a GGUF file. Again for more'
complete -c llmasos -n "__llmasos_at batch" -l mmap -d 'Map the file into memory instead of reading it. (default on)'
complete -c llmasos -n "__llmasos_at batch" -l no-mmap -d 'Map the file into memory instead of reading it. (default on)'
complete -c llmasos -n "__llmasos_at batch" -l mlock -d 'Keep the model in memory, never swapped out'
complete -c llmasos -n "__llmasos_at batch" -l no-mlock -d 'Keep the model in memory, never swapped out'
complete -c llmasos -n "__llmasos_at batch" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at batch 1" -a '(__llmasos_references)'
complete -c llmasos -n "__llmasos_at tokens" -s f -r -F -d 'Put this file\'s text before the prompt. Again for more'
complete -c llmasos -n "__llmasos_at tokens" -l file -r -F -d 'Put this file\'s text before the prompt. Again for more'
complete -c llmasos -n "__llmasos_at tokens" -l count -d 'Print how many there are, and nothing else'
complete -c llmasos -n "__llmasos_at tokens" -l special -d 'Read <|names|> of special tokens as these, and add what the model wants'
complete -c llmasos -n "__llmasos_at tokens" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at tokens" -l offline -d 'Never use the network'
complete -c llmasos -n "__llmasos_at tokens" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at tokens 1" -a '(__llmasos_references)'
complete -c llmasos -n "__llmasos_at embed" -s f -r -F -d 'Put this file\'s text before the prompt. Again for more'
complete -c llmasos -n "__llmasos_at embed" -l file -r -F -d 'Put this file\'s text before the prompt. Again for more'
complete -c llmasos -n "__llmasos_at embed" -l lines -d 'Every line that is not empty is a text of its own'
complete -c llmasos -n "__llmasos_at embed" -l raw -d 'Leave vectors as long as they come; else their length is 1'
complete -c llmasos -n "__llmasos_at embed" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at embed" -l offline -d 'Never use the network'
complete -c llmasos -n "__llmasos_at embed" -l context-length -x -d 'Tokens that prompt and answer may have together'
complete -c llmasos -n "__llmasos_at embed" -l threads -x -d 'Threads to compute with'
complete -c llmasos -n "__llmasos_at embed" -l gpu-layers -x -d 'Layers to put on the GPU; 0 for none'
complete -c llmasos -n "__llmasos_at embed" -l kv-type -x -a 'f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' -d 'How the context\'s keys and values are stored'
complete -c llmasos -n "__llmasos_at embed" -l flash-attention -d 'Compute attention in the memory-saving way'
complete -c llmasos -n "__llmasos_at embed" -l no-flash-attention -d 'Compute attention in the memory-saving way'
complete -c llmasos -n "__llmasos_at embed" -l deterministic -d 'The same answer every time, whoever else is answered: one at a time, nothing reused, so it is slower'
complete -c llmasos -n "__llmasos_at embed" -l no-deterministic -d 'The same answer every time, whoever else is answered: one at a time, nothing reused, so it is slower'
complete -c llmasos -n "__llmasos_at embed" -l speculation -d 'Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)'
complete -c llmasos -n "__llmasos_at embed" -l no-speculation -d 'Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)'
complete -c llmasos -n "__llmasos_at embed" -l shared-cache -d 'One cache for all that is answered at a time, however long each is. Without, each has a part of it: faster for many that have nothing in common. (default on)'
complete -c llmasos -n "__llmasos_at embed" -l no-shared-cache -d 'One cache for all that is answered at a time, however long each is. Without, each has a part of it: faster for many that have nothing in common. (default on)'
complete -c llmasos -n "__llmasos_at embed" -l draft -x -d 'MODEL: let this smaller model of the same family guess ahead, where that pays'
complete -c llmasos -n "__llmasos_at embed" -l batch-size -x -d 'Tokens of the prompt that are read at once. (default 512)'
complete -c llmasos -n "__llmasos_at embed" -l lora -x -d 'NAME or NAME:SCALE: add this LoRA adapter, a stored one or a GGUF file. Again for more'
complete -c llmasos -n "__llmasos_at embed" -l mmap -d 'Map the file into memory instead of reading it. (default on)'
complete -c llmasos -n "__llmasos_at embed" -l no-mmap -d 'Map the file into memory instead of reading it. (default on)'
complete -c llmasos -n "__llmasos_at embed" -l mlock -d 'Keep the model in memory, never swapped out'
complete -c llmasos -n "__llmasos_at embed" -l no-mlock -d 'Keep the model in memory, never swapped out'
complete -c llmasos -n "__llmasos_at embed" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at embed 1" -a '(__llmasos_references)'
complete -c llmasos -n "__llmasos_at rerank" -s f -r -F -d 'Take each line of this file for a document. Again for more; without it, lines are piped in'
complete -c llmasos -n "__llmasos_at rerank" -l file -r -F -d 'Take each line of this file for a document. Again for more; without it, lines are piped in'
complete -c llmasos -n "__llmasos_at rerank" -s n -x -d 'Only so many, the best'
complete -c llmasos -n "__llmasos_at rerank" -l top -x -d 'Only so many, the best'
complete -c llmasos -n "__llmasos_at rerank" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at rerank" -l offline -d 'Never use the network'
complete -c llmasos -n "__llmasos_at rerank" -l context-length -x -d 'Tokens that prompt and answer may have together'
complete -c llmasos -n "__llmasos_at rerank" -l threads -x -d 'Threads to compute with'
complete -c llmasos -n "__llmasos_at rerank" -l gpu-layers -x -d 'Layers to put on the GPU; 0 for none'
complete -c llmasos -n "__llmasos_at rerank" -l kv-type -x -a 'f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' -d 'How the context\'s keys and values are stored'
complete -c llmasos -n "__llmasos_at rerank" -l flash-attention -d 'Compute attention in the memory-saving way'
complete -c llmasos -n "__llmasos_at rerank" -l no-flash-attention -d 'Compute attention in the memory-saving way'
complete -c llmasos -n "__llmasos_at rerank" -l deterministic -d 'The same answer every time, whoever else is answered: one at a time, nothing reused, so it is slower'
complete -c llmasos -n "__llmasos_at rerank" -l no-deterministic -d 'The same answer every time, whoever else is answered: one at a time, nothing reused, so it is slower'
complete -c llmasos -n "__llmasos_at rerank" -l speculation -d 'Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)'
complete -c llmasos -n "__llmasos_at rerank" -l no-speculation -d 'Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)'
complete -c llmasos -n "__llmasos_at rerank" -l shared-cache -d 'One cache for all that is answered at a time, however long each is. Without, each has a part of it: faster for many that have nothing in common. (default on)'
complete -c llmasos -n "__llmasos_at rerank" -l no-shared-cache -d 'One cache for all that is answered at a time, however long each is. Without, each has a part of it: faster for many that have nothing in common. (default on)'
complete -c llmasos -n "__llmasos_at rerank" -l draft -x -d 'MODEL: let this smaller model of the same family guess ahead, where that pays'
complete -c llmasos -n "__llmasos_at rerank" -l batch-size -x -d 'Tokens of the prompt that are read at once. (default 512)'
complete -c llmasos -n "__llmasos_at rerank" -l lora -x -d 'NAME or NAME:SCALE: add this LoRA adapter, a stored one or a GGUF file. Again for more'
complete -c llmasos -n "__llmasos_at rerank" -l mmap -d 'Map the file into memory instead of reading it. (default on)'
complete -c llmasos -n "__llmasos_at rerank" -l no-mmap -d 'Map the file into memory instead of reading it. (default on)'
complete -c llmasos -n "__llmasos_at rerank" -l mlock -d 'Keep the model in memory, never swapped out'
complete -c llmasos -n "__llmasos_at rerank" -l no-mlock -d 'Keep the model in memory, never swapped out'
complete -c llmasos -n "__llmasos_at rerank" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at rerank 1" -a '(__llmasos_references)'
complete -c llmasos -n "__llmasos_at pull" -l as -x -d 'Store it under this name'
complete -c llmasos -n "__llmasos_at pull" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at pull" -l offline -d 'Never use the network'
complete -c llmasos -n "__llmasos_at pull" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at pull 1" -a '(__llmasos_references)'
complete -c llmasos -n "__llmasos_at list" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at list" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at list 1" -a '(__llmasos_models)'
complete -c llmasos -n "__llmasos_at show" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at show" -l template -d 'Print the chat template only'
complete -c llmasos -n "__llmasos_at show" -l modelfile -d 'Print it as a recipe for `create`'
complete -c llmasos -n "__llmasos_at show" -l license -d 'Print the licence only'
complete -c llmasos -n "__llmasos_at show" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at show 1" -a '(__llmasos_models)'
complete -c llmasos -n "__llmasos_at create" -s f -r -F -d 'The recipe, a Modelfile as Ollama has them'
complete -c llmasos -n "__llmasos_at create" -l file -r -F -d 'The recipe, a Modelfile as Ollama has them'
complete -c llmasos -n "__llmasos_at create" -s t -x -d 'Quantize the weights to this type'
complete -c llmasos -n "__llmasos_at create" -l type -x -d 'Quantize the weights to this type'
complete -c llmasos -n "__llmasos_at create" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at create" -l offline -d 'Never use the network'
complete -c llmasos -n "__llmasos_at create" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at cp" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at cp 1" -a '(__llmasos_models)'
complete -c llmasos -n "__llmasos_at rm" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at rm 1-" -a '(__llmasos_models)'
complete -c llmasos -n "__llmasos_at import" -l from -x -a 'ollama huggingface lmstudio' -d 'Take what this tool holds'
complete -c llmasos -n "__llmasos_at import" -l as -x -d 'Store it under this name'
complete -c llmasos -n "__llmasos_at import" -l dry-run -d 'Only say what would be taken in'
complete -c llmasos -n "__llmasos_at import" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at import" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at import 1-" -F
complete -c llmasos -n "__llmasos_at verify" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at verify" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at verify 1-" -a '(__llmasos_models)'
complete -c llmasos -n "__llmasos_at prune" -l dry-run -d 'Only say what would be deleted'
complete -c llmasos -n "__llmasos_at prune" -l older-than -x -d 'Only unfinished downloads that are this old'
complete -c llmasos -n "__llmasos_at prune" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at prune" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at convert" -l type -x -d 'Of the weights: F32, F16, BF16, Q8_0, Q4_K_M and so on'
complete -c llmasos -n "__llmasos_at convert" -s t -x -d 'Of the weights: F32, F16, BF16, Q8_0, Q4_K_M and so on'
complete -c llmasos -n "__llmasos_at convert" -l as -x -d 'Store it under this name'
complete -c llmasos -n "__llmasos_at convert" -l output -r -F -d 'Write this file; the store is left alone'
complete -c llmasos -n "__llmasos_at convert" -s o -r -F -d 'Write this file; the store is left alone'
complete -c llmasos -n "__llmasos_at convert" -l split-max-size -x -d 'Cut the file into parts of at most 500M, 2G, …'
complete -c llmasos -n "__llmasos_at convert" -l lora -r -F -d 'Convert the LoRA adapter that PEFT wrote to this folder'
complete -c llmasos -n "__llmasos_at convert" -l base -x -a '(__llmasos_references)' -d 'The model that the adapter is for: stored, a file, or a folder'
complete -c llmasos -n "__llmasos_at convert" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at convert" -l offline -d 'Never use the network'
complete -c llmasos -n "__llmasos_at convert" -s v -d 'Say what was chosen and why, and show the engine\'s log'
complete -c llmasos -n "__llmasos_at convert" -l verbose -d 'Say what was chosen and why, and show the engine\'s log'
complete -c llmasos -n "__llmasos_at convert" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at quantize" -l type -x -d 'What to make: Q4_K_M, Q5_K_S, Q8_0, IQ4_XS and so on'
complete -c llmasos -n "__llmasos_at quantize" -s t -x -d 'What to make: Q4_K_M, Q5_K_S, Q8_0, IQ4_XS and so on'
complete -c llmasos -n "__llmasos_at quantize" -l as -x -d 'Store it under this name'
complete -c llmasos -n "__llmasos_at quantize" -l output -r -F -d 'Write this file; the store is left alone'
complete -c llmasos -n "__llmasos_at quantize" -s o -r -F -d 'Write this file; the store is left alone'
complete -c llmasos -n "__llmasos_at quantize" -l allow-requantize -d 'Quantize what is quantized already, and lose more than one has to'
complete -c llmasos -n "__llmasos_at quantize" -l keep-split -d 'With -o: as many files as the model has, with the same tensors'
complete -c llmasos -n "__llmasos_at quantize" -l dry-run -d 'Only tell types and size; write nothing'
complete -c llmasos -n "__llmasos_at quantize" -l tensor-type -x -d 'A type for tensors in whose names the expression is found, the first that is'
complete -c llmasos -n "__llmasos_at quantize" -l output-type -x -d 'The type of the output'
complete -c llmasos -n "__llmasos_at quantize" -l embedding-type -x -d 'That of the token embeddings'
complete -c llmasos -n "__llmasos_at quantize" -l pure -d 'One type for all, not the mix\'s several'
complete -c llmasos -n "__llmasos_at quantize" -l prune-layers -x -d 'Leave layers out, counted from 0: 3,5-7'
complete -c llmasos -n "__llmasos_at quantize" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at quantize" -l offline -d 'Never use the network'
complete -c llmasos -n "__llmasos_at quantize" -s v -d 'Say what was chosen and why, and show the engine\'s log'
complete -c llmasos -n "__llmasos_at quantize" -l verbose -d 'Say what was chosen and why, and show the engine\'s log'
complete -c llmasos -n "__llmasos_at quantize" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at quantize 1" -a '(__llmasos_references)'
complete -c llmasos -n "__llmasos_at export" -l type -x -d 'Of the weights: bf16, f32 or f16'
complete -c llmasos -n "__llmasos_at export" -s t -x -d 'Of the weights: bf16, f32 or f16'
complete -c llmasos -n "__llmasos_at export" -l json -d 'Print JSON'
complete -c llmasos -n "__llmasos_at export" -l offline -d 'Never use the network'
complete -c llmasos -n "__llmasos_at export" -l help -d 'Show how it is called'
complete -c llmasos -n "__llmasos_at export 1" -a '(__llmasos_references)'
complete -c llmasos -n "__llmasos_at export 2" -F
