#compdef llmasos
# Completes llmasos in zsh: a file `_llmasos` in a folder of $fpath, or sourced after compinit.
# Made by tools/make_completions.py from the commands and from tools/completions/llmasos.zsh.in.

_llmasos() {
  local program=${(Q)words[1]} curcontext=$curcontext context state state_descr line
  local -A opt_args
  local -a commands=(
    'run:Answers one prompt, or one a line. The model is pulled first if it is not here'
    'chat:Talks with a model. /help in the chat shows what can be typed there'
    'batch:Answers all prompts of a file. Run again after any kind of end, it goes on where it was'
    'tokens:Splits a text into a model'\''s tokens: how many there are is what contexts and prices are counted in'
    'embed:Turns texts into vectors with an embedding model: one line of numbers in JSON for each text'
    'rerank:Sorts lines by how well they answer a query, with a reranker: a score and the line, the best first'
    'serve:Serves the installed models over HTTP, several users at once, until Ctrl-C, in OpenAI'\''s and Ollama'\''s ways'
    'ps:Lists the models that a server has in memory; without --server, the one of this machine'
    'stop:Takes a model out of a server'\''s memory, when what it answers is finished; without --server, of this machine'\''s'
    'pull:Pulls a model into the store'
    'list:Lists the installed models'
    'show:Shows one installed model: where its file is, what it is, where it came from'
    'create:Makes a model by a recipe: another one'\''s weights with a system prompt, parameters, an adapter of its own'
    'cp:Gives a model a second name; its files are shared and take no more room'
    'rm:Removes models, and their files unless another model uses them'
    'import:Takes in models from this disk. Files are linked where the file system allows, never moved or changed'
    'verify:Checks that the installed files are what was pulled'
    'prune:Deletes files that no model uses and downloads that were never finished'
    'convert:Converts a Hugging Face checkpoint (safetensors or PyTorch'\''s own format) to GGUF, quantized on the way if asked'
    'quantize:Quantizes a model: a stored one, a GGUF file or a checkpoint, into any of llama.cpp'\''s types'
    'export:Makes a Hugging Face checkpoint of a GGUF, its weights dequantized: for transformers, PEFT and other trainers'
    'eval:Measures a model: how well it foresees a text, and what changing it has cost'
  )
  program=${program/#\~/$HOME}
  _arguments -C '(- *)--help[Show how it is called]' '(- *)--version[Show the version]' \
    '1: :->command' '*:: :->rest'
  case $state in
    command) _describe -t commands command commands ;;
    rest)
      curcontext="${curcontext%:*:*}:llmasos-$words[1]:"
      _llmasos_grammar
      ;;
  esac
}

_llmasos_grammar() {
  case $words[1] in
    run)
      _arguments -S \
        '*-f+[Put this file'\''s text before the prompt. Again for more]:f:_files' \
        '*--file=[Put this file'\''s text before the prompt. Again for more]:file:_files' \
        '*--lines[Every line piped in, or of the files, is a prompt, PROMPT stands before each, and each answer is one line\: spaces stand for its line ends, which only --json keeps]' \
        '*--system=[What the model should be and do]:system:()' \
        '*--raw[No chat template\: the model goes on from the prompt as it is]' \
        '*--format=[`json`\: the answer is a JSON object]:format:_llmasos_choices json' \
        '*--schema=[The answer fits this JSON schema\: a file, JSON, or '\''name, age int'\'']:schema:_files' \
        '*--regex=[The answer as a whole matches this regular expression]:regex:()' \
        '*--extract=[Print only the inside of the answer'\''s first fenced code block, or its first JSON value]:extract:_llmasos_choices code json' \
        '*--json[Print JSON]' \
        '*--stats[Say on standard error how fast it went]' \
        '*-n+[How many answers]:n:()' \
        '*--count=[How many answers]:count:()' \
        '*-o+[Write the answer to this file instead]:o:_files' \
        '*--output=[Write the answer to this file instead]:output:_files' \
        '*--prompt-cache=[Keep in this file what was read of the prompt, and go on from there next time]:prompt-cache:_files' \
        '*--logprobs=[With --json\: each token'\''s log-probability, and those of so many of the likeliest in its place]:logprobs:()' \
        '*--timeout=[End with exit code 75 after so many seconds, whatever is going on]:timeout:()' \
        '*--lock=[Leave at once with exit code 75 if another run holds the lock of this name]:lock:()' \
        '*--task=[Do this ready-made task, such as translate or summarize, with the prompt]:task:_llmasos_tasks' \
        '*--to=[Of a task\: the language to translate into]:to:()' \
        '*--context=[Of a task\: the file that holds the answer]:context:_files' \
        '*--set=[Any parameter of a task. Again for more]:set:()' \
        '*--list-tasks[Show what tasks there are, and do none]' \
        '*--offline[Never use the network]' \
        '*-v[Say what was chosen and why, and show the engine'\''s log]' \
        '*--verbose[Say what was chosen and why, and show the engine'\''s log]' \
        '*--server=[Let this llmasos server do the work\: http\://host\:port, or unix\:/path. MODEL is a name there. Its key, if it wants one, is in LLMASOS_API_KEY]:server:()' \
        '*--think[Let the model reason before it answers, or not, as far as it knows how]' \
        '*--no-think[Let the model reason before it answers, or not, as far as it knows how]' \
        '*--max-tokens=[Longest answer, in tokens]:max-tokens:()' \
        '*--max-seconds=[End the answer after so many seconds]:max-seconds:()' \
        '*--stop=[End the answer before this text. Again for more]:stop:()' \
        '*--ignore-eos[Go on after the model'\''s own end of the answer]' \
        '*--no-ignore-eos[Go on after the model'\''s own end of the answer]' \
        '*--on-overflow=[If the context is too short\: refuse, cut the prompt'\''s beginning, forget the oldest, or summarize. (default error)]:on-overflow:_llmasos_choices error truncate shift summarize' \
        '*--temperature=[Randomness; 0 always takes the likeliest token. (default 0.8)]:temperature:()' \
        '*--top-k=[Choose among the K likeliest tokens; 0 for all. (default 40)]:top-k:()' \
        '*--top-p=[Choose among the likeliest tokens that together have this probability. (default 0.95)]:top-p:()' \
        '*--min-p=[Leave out tokens less likely than this share of the likeliest. (default 0.05)]:min-p:()' \
        '*--seed=[Start of the random numbers; the same seed gives the same choices]:seed:()' \
        '*--typical-p=[Locally typical sampling; 1 is off. (default 1)]:typical-p:()' \
        '*--top-n-sigma=[Keep tokens within N standard deviations of the best; -1 is off. (default -1)]:top-n-sigma:()' \
        '*--repeat-penalty=[Make tokens that stand in the last ones less likely; 1 is off. (default 1)]:repeat-penalty:()' \
        '*--repeat-last-n=[How many last tokens the penalties look at; -1 for all. (default 64)]:repeat-last-n:()' \
        '*--presence-penalty=[Taken off a token that has occurred. (default 0)]:presence-penalty:()' \
        '*--frequency-penalty=[Taken off for each time a token has occurred. (default 0)]:frequency-penalty:()' \
        '*--dry-multiplier=[DRY\: strength against repeated runs of tokens; 0 is off. (default 0)]:dry-multiplier:()' \
        '*--dry-base=[DRY\: how fast the penalty grows with a run'\''s length. (default 1.75)]:dry-base:()' \
        '*--dry-allowed-length=[DRY\: runs up to this long are free. (default 2)]:dry-allowed-length:()' \
        '*--dry-penalty-last-n=[DRY\: how many last tokens it looks at; -1 for all. (default -1)]:dry-penalty-last-n:()' \
        '*--dry-sequence-breakers=[DRY\: strings that end a run. (default ('\''\\n'\'', '\''\:'\'', '\''"'\'', '\''*'\''))]:dry-sequence-breakers:()' \
        '*--xtc-probability=[XTC\: how often the likeliest tokens are left out; 0 is off. (default 0)]:xtc-probability:()' \
        '*--xtc-threshold=[XTC\: what counts as likely. (default 0.1)]:xtc-threshold:()' \
        '*--mirostat=[Mirostat\: 0 is off, 1 or 2 its version; replaces top-k, top-p and their like. (default 0)]:mirostat:()' \
        '*--mirostat-tau=[Mirostat\: the surprise to aim at. (default 5)]:mirostat-tau:()' \
        '*--mirostat-eta=[Mirostat\: how fast it adapts. (default 0.1)]:mirostat-eta:()' \
        '*--logit-bias=[TOKEN=BIAS\: add to a token'\''s logit, `-inf` forbids it. Again for more]:logit-bias:()' \
        '*--debias=[self\: what prejudice would make likelier becomes less likely; takes the time of an answer more an attribute. (default off)]:debias:_llmasos_choices off self' \
        '*--debias-strength=[How strongly; 0 changes nothing, 10 a little, 100 much. (default 50)]:debias-strength:()' \
        '*--debias-attributes=[What is to be lessened, a known attribute or what somebody does who writes so. Again for more. (default ('\''gender'\'', '\''race'\'', '\''religion'\'', '\''age'\'', '\''insults'\'', '\''threats'\''))]:debias-attributes:()' \
        '*--grammar=[GBNF grammar that the answer must keep to\: text, or a .gbnf file]:grammar:_files' \
        '*--num-beams=[Beam search\: follow so many likeliest answers at a time. (default 1)]:num-beams:()' \
        '*--length-penalty=[Of a beam search\: above 0 prefers long answers, below 0 short ones. (default 1)]:length-penalty:()' \
        '*--early-stopping=[End a beam search when as many are finished as are followed (true), when a better one is unlikely (false), or when none can come (never). (default false)]:early-stopping:_llmasos_choices true false never' \
        '*--context-length=[Tokens that prompt and answer may have together]:context-length:()' \
        '*--threads=[Threads to compute with]:threads:()' \
        '*--gpu-layers=[Layers to put on the GPU; 0 for none]:gpu-layers:()' \
        '*--kv-type=[How the context'\''s keys and values are stored]:kv-type:_llmasos_choices f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' \
        '*--flash-attention[Compute attention in the memory-saving way]' \
        '*--no-flash-attention[Compute attention in the memory-saving way]' \
        '*--deterministic[The same answer every time, whoever else is answered\: one at a time, nothing reused, so it is slower]' \
        '*--no-deterministic[The same answer every time, whoever else is answered\: one at a time, nothing reused, so it is slower]' \
        '*--speculation[Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)]' \
        '*--no-speculation[Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)]' \
        '*--shared-cache[One cache for all that is answered at a time, however long each is. Without, each has a part of it\: faster for many, and takes more memory for long contexts]' \
        '*--no-shared-cache[One cache for all that is answered at a time, however long each is. Without, each has a part of it\: faster for many, and takes more memory for long contexts]' \
        '*--draft=[Let this smaller model of the same family guess ahead, where that pays]:draft:_llmasos_references' \
        '*--batch-size=[Tokens of the prompt that are read at once. (default 512)]:batch-size:()' \
        '*--lora=[NAME or NAME\:SCALE\: add this LoRA adapter, a stored one or a GGUF file. Again for more]:lora:()' \
        '*--control-vector=[NAME or NAME\:SCALE\: add this control vector, a stored one or a GGUF file. Again for more]:control-vector:()' \
        '*--control-layers=[Add control vectors to the layers A to B alone, counted from 0]:control-layers:()' \
        '*--mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--no-mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--mlock[Keep the model in memory, never swapped out]' \
        '*--no-mlock[Keep the model in memory, never swapped out]' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references' \
        '2:prompt:()'
      ;;
    chat)
      _arguments -S \
        '*-c[Go on with the last conversation]' \
        '*--continue[Go on with the last conversation]' \
        '*--session=[Go on with the conversation of that name, or begin it]:session:()' \
        '*--no-save[Keep nothing of this conversation on the disk]' \
        '*--system=[What the model should be and do]:system:()' \
        '*--offline[Never use the network]' \
        '*-v[Say what was chosen and why, and show the engine'\''s log]' \
        '*--verbose[Say what was chosen and why, and show the engine'\''s log]' \
        '*--server=[Let this llmasos server do the work\: http\://host\:port, or unix\:/path. MODEL is a name there. Its key, if it wants one, is in LLMASOS_API_KEY]:server:()' \
        '*--think[Let the model reason before it answers, or not, as far as it knows how]' \
        '*--no-think[Let the model reason before it answers, or not, as far as it knows how]' \
        '*--max-tokens=[Longest answer, in tokens]:max-tokens:()' \
        '*--max-seconds=[End the answer after so many seconds]:max-seconds:()' \
        '*--stop=[End the answer before this text. Again for more]:stop:()' \
        '*--ignore-eos[Go on after the model'\''s own end of the answer]' \
        '*--no-ignore-eos[Go on after the model'\''s own end of the answer]' \
        '*--on-overflow=[If the context is too short\: refuse, cut the prompt'\''s beginning, forget the oldest, or summarize. (default error)]:on-overflow:_llmasos_choices error truncate shift summarize' \
        '*--temperature=[Randomness; 0 always takes the likeliest token. (default 0.8)]:temperature:()' \
        '*--top-k=[Choose among the K likeliest tokens; 0 for all. (default 40)]:top-k:()' \
        '*--top-p=[Choose among the likeliest tokens that together have this probability. (default 0.95)]:top-p:()' \
        '*--min-p=[Leave out tokens less likely than this share of the likeliest. (default 0.05)]:min-p:()' \
        '*--seed=[Start of the random numbers; the same seed gives the same choices]:seed:()' \
        '*--typical-p=[Locally typical sampling; 1 is off. (default 1)]:typical-p:()' \
        '*--top-n-sigma=[Keep tokens within N standard deviations of the best; -1 is off. (default -1)]:top-n-sigma:()' \
        '*--repeat-penalty=[Make tokens that stand in the last ones less likely; 1 is off. (default 1)]:repeat-penalty:()' \
        '*--repeat-last-n=[How many last tokens the penalties look at; -1 for all. (default 64)]:repeat-last-n:()' \
        '*--presence-penalty=[Taken off a token that has occurred. (default 0)]:presence-penalty:()' \
        '*--frequency-penalty=[Taken off for each time a token has occurred. (default 0)]:frequency-penalty:()' \
        '*--dry-multiplier=[DRY\: strength against repeated runs of tokens; 0 is off. (default 0)]:dry-multiplier:()' \
        '*--dry-base=[DRY\: how fast the penalty grows with a run'\''s length. (default 1.75)]:dry-base:()' \
        '*--dry-allowed-length=[DRY\: runs up to this long are free. (default 2)]:dry-allowed-length:()' \
        '*--dry-penalty-last-n=[DRY\: how many last tokens it looks at; -1 for all. (default -1)]:dry-penalty-last-n:()' \
        '*--dry-sequence-breakers=[DRY\: strings that end a run. (default ('\''\\n'\'', '\''\:'\'', '\''"'\'', '\''*'\''))]:dry-sequence-breakers:()' \
        '*--xtc-probability=[XTC\: how often the likeliest tokens are left out; 0 is off. (default 0)]:xtc-probability:()' \
        '*--xtc-threshold=[XTC\: what counts as likely. (default 0.1)]:xtc-threshold:()' \
        '*--mirostat=[Mirostat\: 0 is off, 1 or 2 its version; replaces top-k, top-p and their like. (default 0)]:mirostat:()' \
        '*--mirostat-tau=[Mirostat\: the surprise to aim at. (default 5)]:mirostat-tau:()' \
        '*--mirostat-eta=[Mirostat\: how fast it adapts. (default 0.1)]:mirostat-eta:()' \
        '*--logit-bias=[TOKEN=BIAS\: add to a token'\''s logit, `-inf` forbids it. Again for more]:logit-bias:()' \
        '*--debias=[self\: what prejudice would make likelier becomes less likely; takes the time of an answer more an attribute. (default off)]:debias:_llmasos_choices off self' \
        '*--debias-strength=[How strongly; 0 changes nothing, 10 a little, 100 much. (default 50)]:debias-strength:()' \
        '*--debias-attributes=[What is to be lessened, a known attribute or what somebody does who writes so. Again for more. (default ('\''gender'\'', '\''race'\'', '\''religion'\'', '\''age'\'', '\''insults'\'', '\''threats'\''))]:debias-attributes:()' \
        '*--grammar=[GBNF grammar that the answer must keep to\: text, or a .gbnf file]:grammar:_files' \
        '*--num-beams=[Beam search\: follow so many likeliest answers at a time. (default 1)]:num-beams:()' \
        '*--length-penalty=[Of a beam search\: above 0 prefers long answers, below 0 short ones. (default 1)]:length-penalty:()' \
        '*--early-stopping=[End a beam search when as many are finished as are followed (true), when a better one is unlikely (false), or when none can come (never). (default false)]:early-stopping:_llmasos_choices true false never' \
        '*--context-length=[Tokens that prompt and answer may have together]:context-length:()' \
        '*--threads=[Threads to compute with]:threads:()' \
        '*--gpu-layers=[Layers to put on the GPU; 0 for none]:gpu-layers:()' \
        '*--kv-type=[How the context'\''s keys and values are stored]:kv-type:_llmasos_choices f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' \
        '*--flash-attention[Compute attention in the memory-saving way]' \
        '*--no-flash-attention[Compute attention in the memory-saving way]' \
        '*--deterministic[The same answer every time, whoever else is answered\: one at a time, nothing reused, so it is slower]' \
        '*--no-deterministic[The same answer every time, whoever else is answered\: one at a time, nothing reused, so it is slower]' \
        '*--speculation[Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)]' \
        '*--no-speculation[Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)]' \
        '*--shared-cache[One cache for all that is answered at a time, however long each is. Without, each has a part of it\: faster for many, and takes more memory for long contexts]' \
        '*--no-shared-cache[One cache for all that is answered at a time, however long each is. Without, each has a part of it\: faster for many, and takes more memory for long contexts]' \
        '*--draft=[Let this smaller model of the same family guess ahead, where that pays]:draft:_llmasos_references' \
        '*--batch-size=[Tokens of the prompt that are read at once. (default 512)]:batch-size:()' \
        '*--lora=[NAME or NAME\:SCALE\: add this LoRA adapter, a stored one or a GGUF file. Again for more]:lora:()' \
        '*--control-vector=[NAME or NAME\:SCALE\: add this control vector, a stored one or a GGUF file. Again for more]:control-vector:()' \
        '*--control-layers=[Add control vectors to the layers A to B alone, counted from 0]:control-layers:()' \
        '*--mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--no-mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--mlock[Keep the model in memory, never swapped out]' \
        '*--no-mlock[Keep the model in memory, never swapped out]' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references'
      ;;
    batch)
      _arguments -S \
        '*-i+[The file of prompts]:i:_files' \
        '*--input=[The file of prompts]:input:_files' \
        '*-o+[The file that gets the results, or has some]:o:_files' \
        '*--output=[The file that gets the results, or has some]:output:_files' \
        '*--input-format=[How the input is written; else its name tells]:input-format:_llmasos_choices jsonl csv tsv lines' \
        '*--template=[Make prompts of fields\: '\''Translate\: {title}'\''; {line} is a plain line]:template:()' \
        '*--system=[What the model should be and do, where no line says it]:system:()' \
        '*--raw[No chat template\: the model goes on from a prompt as it is]' \
        '*--format=[`json`\: the answer is a JSON object]:format:_llmasos_choices json' \
        '*--schema=[The answer fits this JSON schema\: a file, JSON, or '\''name, age int'\'']:schema:_files' \
        '*--regex=[The answer as a whole matches this regular expression]:regex:()' \
        '*--parallel=[Answers to work on at a time; else as the memory allows]:parallel:()' \
        '*--errors=[Write lines that fail to this file]:errors:_files' \
        '*--max-errors=[End the batch when more lines than that fail]:max-errors:()' \
        '*--retries=[Try again so often what the engine fails of]:retries:()' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*-v[Say what was chosen and why, and show the engine'\''s log]' \
        '*--verbose[Say what was chosen and why, and show the engine'\''s log]' \
        '*--server=[Let this llmasos server do the work\: http\://host\:port, or unix\:/path. MODEL is a name there. Its key, if it wants one, is in LLMASOS_API_KEY]:server:()' \
        '*--think[Let the model reason before it answers, or not, as far as it knows how]' \
        '*--no-think[Let the model reason before it answers, or not, as far as it knows how]' \
        '*--max-tokens=[Longest answer, in tokens]:max-tokens:()' \
        '*--max-seconds=[End the answer after so many seconds]:max-seconds:()' \
        '*--stop=[End the answer before this text. Again for more]:stop:()' \
        '*--ignore-eos[Go on after the model'\''s own end of the answer]' \
        '*--no-ignore-eos[Go on after the model'\''s own end of the answer]' \
        '*--on-overflow=[If the context is too short\: refuse, cut the prompt'\''s beginning, forget the oldest, or summarize. (default error)]:on-overflow:_llmasos_choices error truncate shift summarize' \
        '*--temperature=[Randomness; 0 always takes the likeliest token. (default 0.8)]:temperature:()' \
        '*--top-k=[Choose among the K likeliest tokens; 0 for all. (default 40)]:top-k:()' \
        '*--top-p=[Choose among the likeliest tokens that together have this probability. (default 0.95)]:top-p:()' \
        '*--min-p=[Leave out tokens less likely than this share of the likeliest. (default 0.05)]:min-p:()' \
        '*--seed=[Start of the random numbers; the same seed gives the same choices]:seed:()' \
        '*--typical-p=[Locally typical sampling; 1 is off. (default 1)]:typical-p:()' \
        '*--top-n-sigma=[Keep tokens within N standard deviations of the best; -1 is off. (default -1)]:top-n-sigma:()' \
        '*--repeat-penalty=[Make tokens that stand in the last ones less likely; 1 is off. (default 1)]:repeat-penalty:()' \
        '*--repeat-last-n=[How many last tokens the penalties look at; -1 for all. (default 64)]:repeat-last-n:()' \
        '*--presence-penalty=[Taken off a token that has occurred. (default 0)]:presence-penalty:()' \
        '*--frequency-penalty=[Taken off for each time a token has occurred. (default 0)]:frequency-penalty:()' \
        '*--dry-multiplier=[DRY\: strength against repeated runs of tokens; 0 is off. (default 0)]:dry-multiplier:()' \
        '*--dry-base=[DRY\: how fast the penalty grows with a run'\''s length. (default 1.75)]:dry-base:()' \
        '*--dry-allowed-length=[DRY\: runs up to this long are free. (default 2)]:dry-allowed-length:()' \
        '*--dry-penalty-last-n=[DRY\: how many last tokens it looks at; -1 for all. (default -1)]:dry-penalty-last-n:()' \
        '*--dry-sequence-breakers=[DRY\: strings that end a run. (default ('\''\\n'\'', '\''\:'\'', '\''"'\'', '\''*'\''))]:dry-sequence-breakers:()' \
        '*--xtc-probability=[XTC\: how often the likeliest tokens are left out; 0 is off. (default 0)]:xtc-probability:()' \
        '*--xtc-threshold=[XTC\: what counts as likely. (default 0.1)]:xtc-threshold:()' \
        '*--mirostat=[Mirostat\: 0 is off, 1 or 2 its version; replaces top-k, top-p and their like. (default 0)]:mirostat:()' \
        '*--mirostat-tau=[Mirostat\: the surprise to aim at. (default 5)]:mirostat-tau:()' \
        '*--mirostat-eta=[Mirostat\: how fast it adapts. (default 0.1)]:mirostat-eta:()' \
        '*--logit-bias=[TOKEN=BIAS\: add to a token'\''s logit, `-inf` forbids it. Again for more]:logit-bias:()' \
        '*--debias=[self\: what prejudice would make likelier becomes less likely; takes the time of an answer more an attribute. (default off)]:debias:_llmasos_choices off self' \
        '*--debias-strength=[How strongly; 0 changes nothing, 10 a little, 100 much. (default 50)]:debias-strength:()' \
        '*--debias-attributes=[What is to be lessened, a known attribute or what somebody does who writes so. Again for more. (default ('\''gender'\'', '\''race'\'', '\''religion'\'', '\''age'\'', '\''insults'\'', '\''threats'\''))]:debias-attributes:()' \
        '*--grammar=[GBNF grammar that the answer must keep to\: text, or a .gbnf file]:grammar:_files' \
        '*--context-length=[Tokens that prompt and answer may have together]:context-length:()' \
        '*--threads=[Threads to compute with]:threads:()' \
        '*--gpu-layers=[Layers to put on the GPU; 0 for none]:gpu-layers:()' \
        '*--kv-type=[How the context'\''s keys and values are stored]:kv-type:_llmasos_choices f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' \
        '*--flash-attention[Compute attention in the memory-saving way]' \
        '*--no-flash-attention[Compute attention in the memory-saving way]' \
        '*--deterministic[The same answer every time, whoever else is answered\: one at a time, nothing reused, so it is slower]' \
        '*--no-deterministic[The same answer every time, whoever else is answered\: one at a time, nothing reused, so it is slower]' \
        '*--speculation[Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)]' \
        '*--no-speculation[Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)]' \
        '*--shared-cache[One cache for all that is answered at a time, however long each is. Without, each has a part of it\: faster for many, and takes more memory for long contexts]' \
        '*--no-shared-cache[One cache for all that is answered at a time, however long each is. Without, each has a part of it\: faster for many, and takes more memory for long contexts]' \
        '*--draft=[Let this smaller model of the same family guess ahead, where that pays]:draft:_llmasos_references' \
        '*--batch-size=[Tokens of the prompt that are read at once. (default 512)]:batch-size:()' \
        '*--lora=[NAME or NAME\:SCALE\: add this LoRA adapter, a stored one or a GGUF file. Again for more]:lora:()' \
        '*--control-vector=[NAME or NAME\:SCALE\: add this control vector, a stored one or a GGUF file. Again for more]:control-vector:()' \
        '*--control-layers=[Add control vectors to the layers A to B alone, counted from 0]:control-layers:()' \
        '*--mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--no-mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--mlock[Keep the model in memory, never swapped out]' \
        '*--no-mlock[Keep the model in memory, never swapped out]' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references'
      ;;
    tokens)
      _arguments -S \
        '*-f+[Put this file'\''s text before the prompt. Again for more]:f:_files' \
        '*--file=[Put this file'\''s text before the prompt. Again for more]:file:_files' \
        '*--count[Print how many there are, and nothing else]' \
        '*--special[Read <|names|> of special tokens as these, and add what the model wants]' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*--server=[Let this llmasos server do the work\: http\://host\:port, or unix\:/path. MODEL is a name there. Its key, if it wants one, is in LLMASOS_API_KEY]:server:()' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references' \
        '2:prompt:()'
      ;;
    embed)
      _arguments -S \
        '*-f+[Put this file'\''s text before the prompt. Again for more]:f:_files' \
        '*--file=[Put this file'\''s text before the prompt. Again for more]:file:_files' \
        '*--lines[Every line that is not empty is a text of its own]' \
        '*--raw[Leave vectors as long as they come; else their length is 1]' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*--server=[Let this llmasos server do the work\: http\://host\:port, or unix\:/path. MODEL is a name there. Its key, if it wants one, is in LLMASOS_API_KEY]:server:()' \
        '*--context-length=[Tokens that prompt and answer may have together]:context-length:()' \
        '*--threads=[Threads to compute with]:threads:()' \
        '*--gpu-layers=[Layers to put on the GPU; 0 for none]:gpu-layers:()' \
        '*--kv-type=[How the context'\''s keys and values are stored]:kv-type:_llmasos_choices f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' \
        '*--flash-attention[Compute attention in the memory-saving way]' \
        '*--no-flash-attention[Compute attention in the memory-saving way]' \
        '*--deterministic[The same answer every time, whoever else is answered\: one at a time, nothing reused, so it is slower]' \
        '*--no-deterministic[The same answer every time, whoever else is answered\: one at a time, nothing reused, so it is slower]' \
        '*--speculation[Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)]' \
        '*--no-speculation[Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)]' \
        '*--shared-cache[One cache for all that is answered at a time, however long each is. Without, each has a part of it\: faster for many, and takes more memory for long contexts]' \
        '*--no-shared-cache[One cache for all that is answered at a time, however long each is. Without, each has a part of it\: faster for many, and takes more memory for long contexts]' \
        '*--draft=[Let this smaller model of the same family guess ahead, where that pays]:draft:_llmasos_references' \
        '*--batch-size=[Tokens of the prompt that are read at once. (default 512)]:batch-size:()' \
        '*--lora=[NAME or NAME\:SCALE\: add this LoRA adapter, a stored one or a GGUF file. Again for more]:lora:()' \
        '*--control-vector=[NAME or NAME\:SCALE\: add this control vector, a stored one or a GGUF file. Again for more]:control-vector:()' \
        '*--control-layers=[Add control vectors to the layers A to B alone, counted from 0]:control-layers:()' \
        '*--mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--no-mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--mlock[Keep the model in memory, never swapped out]' \
        '*--no-mlock[Keep the model in memory, never swapped out]' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references' \
        '2:prompt:()'
      ;;
    rerank)
      _arguments -S \
        '*-f+[Take each line of this file for a document. Again for more; without it, lines are piped in]:f:_files' \
        '*--file=[Take each line of this file for a document. Again for more; without it, lines are piped in]:file:_files' \
        '*-n+[Only so many, the best]:n:()' \
        '*--top=[Only so many, the best]:top:()' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*--server=[Let this llmasos server do the work\: http\://host\:port, or unix\:/path. MODEL is a name there. Its key, if it wants one, is in LLMASOS_API_KEY]:server:()' \
        '*--context-length=[Tokens that prompt and answer may have together]:context-length:()' \
        '*--threads=[Threads to compute with]:threads:()' \
        '*--gpu-layers=[Layers to put on the GPU; 0 for none]:gpu-layers:()' \
        '*--kv-type=[How the context'\''s keys and values are stored]:kv-type:_llmasos_choices f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' \
        '*--flash-attention[Compute attention in the memory-saving way]' \
        '*--no-flash-attention[Compute attention in the memory-saving way]' \
        '*--deterministic[The same answer every time, whoever else is answered\: one at a time, nothing reused, so it is slower]' \
        '*--no-deterministic[The same answer every time, whoever else is answered\: one at a time, nothing reused, so it is slower]' \
        '*--speculation[Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)]' \
        '*--no-speculation[Guess ahead where the answer repeats what stands before it, and check several tokens in one pass. (default on)]' \
        '*--shared-cache[One cache for all that is answered at a time, however long each is. Without, each has a part of it\: faster for many, and takes more memory for long contexts]' \
        '*--no-shared-cache[One cache for all that is answered at a time, however long each is. Without, each has a part of it\: faster for many, and takes more memory for long contexts]' \
        '*--draft=[Let this smaller model of the same family guess ahead, where that pays]:draft:_llmasos_references' \
        '*--batch-size=[Tokens of the prompt that are read at once. (default 512)]:batch-size:()' \
        '*--lora=[NAME or NAME\:SCALE\: add this LoRA adapter, a stored one or a GGUF file. Again for more]:lora:()' \
        '*--control-vector=[NAME or NAME\:SCALE\: add this control vector, a stored one or a GGUF file. Again for more]:control-vector:()' \
        '*--control-layers=[Add control vectors to the layers A to B alone, counted from 0]:control-layers:()' \
        '*--mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--no-mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--mlock[Keep the model in memory, never swapped out]' \
        '*--no-mlock[Keep the model in memory, never swapped out]' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references' \
        '2:query:()'
      ;;
    serve)
      _arguments -S \
        '*--host=[The address to listen at. Any but this machine'\''s own needs --api-key. (default 127.0.0.1)]:host:()' \
        '*--port=[The port to listen at; 0 for any that is free. (default 11435)]:port:()' \
        '*--socket=[Listen at this Unix socket instead]:socket:()' \
        '*--tls-certificate=[A file with the certificate, to be spoken to by https]:tls-certificate:()' \
        '*--tls-key=[The file with the certificate'\''s key]:tls-key:()' \
        '*--api-key=[Who shows this key is let in. Again for more keys]:api-key:()' \
        '*--api-key-file=[A file with such keys, one a line]:api-key-file:()' \
        '*--insecure[Listen at other addresses than this machine'\''s own without a key]' \
        '*--no-insecure[Listen at other addresses than this machine'\''s own without a key]' \
        '*--allow-host=[Answer to this name too; others are refused, since a web page could stand behind them. Again for more]:allow-host:()' \
        '*--allow-origin=[Let web pages from this origin ask, such as https\://chat.example; * for all. Again for more]:allow-origin:()' \
        '*--keep-alive=[How long a model stays in memory unused, such as 30s, 1h, 0, or -1 for ever. (default 5m)]:keep-alive:()' \
        '*--parallel=[Requests that one model works on at a time. (default 8)]:parallel:()' \
        '*--max-models=[Models in memory at a time, at most]:max-models:()' \
        '*--max-queue=[Requests that may wait; more are told to come again. (default 512)]:max-queue:()' \
        '*--max-requests-per-key=[Requests of one key, or address, that are answered at a time]:max-requests-per-key:()' \
        '*--max-body=[The largest request that is read. (default 32M)]:max-body:()' \
        '*--max-load-seconds=[Loading a model may take so long, waiting for room in memory included. (default 600)]:max-load-seconds:()' \
        '*--max-request-seconds=[End an answer so many seconds after its model is there, its turn to come included]:max-request-seconds:()' \
        '*--pull[Pull models that are asked for and not here]' \
        '*--no-pull[Pull models that are asked for and not here]' \
        '*--help[Show how it is called]'
      ;;
    ps)
      _arguments -S \
        '*--json[Print JSON]' \
        '*--server=[Let this llmasos server do the work\: http\://host\:port, or unix\:/path. MODEL is a name there. Its key, if it wants one, is in LLMASOS_API_KEY]:server:()' \
        '*--help[Show how it is called]'
      ;;
    stop)
      _arguments -S \
        '*--server=[Let this llmasos server do the work\: http\://host\:port, or unix\:/path. MODEL is a name there. Its key, if it wants one, is in LLMASOS_API_KEY]:server:()' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_models'
      ;;
    pull)
      _arguments -S \
        '*--as=[Store it under this name]:as:()' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references'
      ;;
    list)
      _arguments -S \
        '*--json[Print JSON]' \
        '*--help[Show how it is called]' \
        '1:prefix:_llmasos_models'
      ;;
    show)
      _arguments -S \
        '*--json[Print JSON]' \
        '*--template[Print the chat template only]' \
        '*--modelfile[Print it as a recipe for `create`]' \
        '*--license[Print the licence only]' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_models'
      ;;
    create)
      _arguments -S \
        '*-f+[The recipe, a Modelfile as Ollama has them]:f:_files' \
        '*--file=[The recipe, a Modelfile as Ollama has them]:file:_files' \
        '*-t+[Quantize the weights to this type]:t:_llmasos_choices F32 F16 Q4_0 Q4_1 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 TQ1_0 TQ2_0 MXFP4_MOE Q1_0 Q2_0' \
        '*--type=[Quantize the weights to this type]:type:_llmasos_choices F32 F16 Q4_0 Q4_1 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 TQ1_0 TQ2_0 MXFP4_MOE Q1_0 Q2_0' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*--help[Show how it is called]' \
        '1:name:()'
      ;;
    cp)
      _arguments -S \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_models' \
        '2:name:()'
      ;;
    rm)
      _arguments -S \
        '*--help[Show how it is called]' \
        '*:model:_llmasos_models'
      ;;
    import)
      _arguments -S \
        '*--from=[Take what this tool holds]:from:_llmasos_choices ollama huggingface lmstudio' \
        '*--as=[Store it under this name]:as:()' \
        '*--dry-run[Only say what would be taken in]' \
        '*--json[Print JSON]' \
        '*--help[Show how it is called]' \
        '*:path|name:_files'
      ;;
    verify)
      _arguments -S \
        '*--json[Print JSON]' \
        '*--help[Show how it is called]' \
        '*:model:_llmasos_models'
      ;;
    prune)
      _arguments -S \
        '*--dry-run[Only say what would be deleted]' \
        '*--older-than=[Only unfinished downloads that are this old]:older-than:()' \
        '*--json[Print JSON]' \
        '*--help[Show how it is called]'
      ;;
    convert)
      _arguments -S \
        '*--type=[Of the weights\: F32, F16, BF16, Q8_0, Q4_K_M and so on]:type:_llmasos_choices F32 F16 Q4_0 Q4_1 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 TQ1_0 TQ2_0 MXFP4_MOE Q1_0 Q2_0' \
        '*-t+[Of the weights\: F32, F16, BF16, Q8_0, Q4_K_M and so on]:t:_llmasos_choices F32 F16 Q4_0 Q4_1 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 TQ1_0 TQ2_0 MXFP4_MOE Q1_0 Q2_0' \
        '*--as=[Store it under this name]:as:()' \
        '*--output=[Write this file; the store is left alone]:output:_files' \
        '*-o+[Write this file; the store is left alone]:o:_files' \
        '*--split-max-size=[Cut the file into parts of at most 500M, 2G, …]:split-max-size:()' \
        '*--imatrix=[What matters in the weights\: an importance matrix of llama-imatrix'\''s, or `auto` to have one made]:imatrix:_llmasos_choices auto' \
        '*--lora=[Convert the LoRA adapter that PEFT wrote to this folder]:lora:_files' \
        '*--base=[The model that the adapter is for\: stored, a file, or a folder]:base:_llmasos_references' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*-v[Say what was chosen and why, and show the engine'\''s log]' \
        '*--verbose[Say what was chosen and why, and show the engine'\''s log]' \
        '*--help[Show how it is called]' \
        '1:checkpoint:_files'
      ;;
    quantize)
      _arguments -S \
        '*--type=[What to make\: Q4_K_M, Q5_K_S, Q8_0, IQ4_XS and so on]:type:_llmasos_choices F32 F16 Q4_0 Q4_1 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 TQ1_0 TQ2_0 MXFP4_MOE Q1_0 Q2_0' \
        '*-t+[What to make\: Q4_K_M, Q5_K_S, Q8_0, IQ4_XS and so on]:t:_llmasos_choices F32 F16 Q4_0 Q4_1 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 TQ1_0 TQ2_0 MXFP4_MOE Q1_0 Q2_0' \
        '*--as=[Store it under this name]:as:()' \
        '*--output=[Write this file; the store is left alone]:output:_files' \
        '*-o+[Write this file; the store is left alone]:o:_files' \
        '*--imatrix=[What matters in the weights\: an importance matrix of llama-imatrix'\''s, or `auto` to have one made]:imatrix:_llmasos_choices auto' \
        '*--imatrix-only[Only make the importance matrix, for -o\: what the model does with a text]' \
        '*-f+[With --imatrix-only\: the text, in place of llmasos'\'' own]:f:()' \
        '*--file=[With --imatrix-only\: the text, in place of llmasos'\'' own]:file:()' \
        '*--allow-requantize[Quantize what is quantized already, and lose more than one has to]' \
        '*--keep-split[With -o\: as many files as the model has, with the same tensors]' \
        '*--dry-run[Only tell types and size; write nothing]' \
        '*--tensor-type=[A type for tensors in whose names the expression is found, the first that is]:tensor-type:()' \
        '*--output-type=[The type of the output]:output-type:_llmasos_choices F32 F16 BF16 IQ1_M IQ1_S IQ2_S IQ2_XS IQ2_XXS IQ3_S IQ3_XXS IQ4_NL IQ4_XS MXFP4 NVFP4 Q1_0 Q2_0 Q2_K Q3_K Q4_0 Q4_1 Q4_K Q5_0 Q5_1 Q5_K Q6_K Q8_0 TQ1_0 TQ2_0' \
        '*--embedding-type=[That of the token embeddings]:embedding-type:_llmasos_choices F32 F16 BF16 IQ1_M IQ1_S IQ2_S IQ2_XS IQ2_XXS IQ3_S IQ3_XXS IQ4_NL IQ4_XS MXFP4 NVFP4 Q1_0 Q2_0 Q2_K Q3_K Q4_0 Q4_1 Q4_K Q5_0 Q5_1 Q5_K Q6_K Q8_0 TQ1_0 TQ2_0' \
        '*--pure[One type for all, not the mix'\''s several]' \
        '*--prune-layers=[Leave layers out, counted from 0\: 3,5-7]:prune-layers:()' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*-v[Say what was chosen and why, and show the engine'\''s log]' \
        '*--verbose[Say what was chosen and why, and show the engine'\''s log]' \
        '*--check[Compare it with its source before it is kept\: perplexity, divergence, agreement, speed]' \
        '*--no-check[Compare it with its source before it is kept\: perplexity, divergence, agreement, speed]' \
        '*--check-text=[Compare over the text in this file, in place of llmasos'\'' own]:check-text:_files' \
        '*--max-kld=[Keep it only if it diverges no more from its source, by the mean, in nats]:max-kld:()' \
        '*--max-ppl-increase=[Keep it only if its perplexity is no more above its source'\''s, in percent]:max-ppl-increase:()' \
        '*--sweep=[Try these types and compare them, such as Q8_0,Q6_K,Q5_K_M,Q4_K_M]:sweep:()' \
        '*--plot=[With --sweep\: draw size against divergence into this file, .svg or .html]:plot:_files' \
        '*--pick[With --sweep\: keep the smallest that passes --max-kld and --max-ppl-increase]' \
        '*--no-pick[With --sweep\: keep the smallest that passes --max-kld and --max-ppl-increase]' \
        '*--target-bpw=[Choose a type for each tensor by what its errors cost, with so many bits for each weight on average]:target-bpw:()' \
        '*--target-size=[The same, with a file of at most this size\: 900M, 4.2G]:target-size:()' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references'
      ;;
    export)
      _arguments -S \
        '*--type=[Of the weights]:type:_llmasos_choices bf16 f32 f16' \
        '*-t+[Of the weights]:t:_llmasos_choices bf16 f32 f16' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references' \
        '2:dir:_files'
      ;;
    eval)
      _llmasos_group eval \
        'perplexity:Measures how well a model foresees a text: its perplexity, by llama-perplexity'\''s definition' \
        'compare:Compares models with a reference, the first: perplexity, KL divergence, agreement, speed and size' \
        'choice:Asks questions with several answers; what the model finds likeliest counts, as in lm-evaluation-harness' \
        'bias:Measures what a model holds of people, by our own probe or a known set, and what debiasing changes' \
        'steer:Makes a control vector: the directions in which a model'\''s layers tell pairs of prompts apart' \
        'list:Lists what was measured, the latest last; or makes a report of all of it' \
        'show:Shows all of one result: model, engine, settings and figures'
      ;;
    'eval perplexity')
      _arguments -S \
        '*-f+[The text to measure with; without, one that llmasos brings]:f:_files' \
        '*--file=[The text to measure with; without, one that llmasos brings]:file:_files' \
        '*--context=[Tokens that are read together]:context:()' \
        '*--mode=[Score the second half of each chunk, as llama-perplexity does, or every token once, as lm-eval does]:mode:_llmasos_choices chunks rolling' \
        '*--stride=[With rolling\: how far one window is from the next; less takes longer]:stride:()' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*-v[Say what was chosen and why, and show the engine'\''s log]' \
        '*--verbose[Say what was chosen and why, and show the engine'\''s log]' \
        '*--threads=[Threads to compute with]:threads:()' \
        '*--gpu-layers=[Layers to put on the GPU; 0 for none]:gpu-layers:()' \
        '*--kv-type=[How the context'\''s keys and values are stored]:kv-type:_llmasos_choices f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' \
        '*--flash-attention[Compute attention in the memory-saving way]' \
        '*--no-flash-attention[Compute attention in the memory-saving way]' \
        '*--batch-size=[Tokens of the prompt that are read at once. (default 512)]:batch-size:()' \
        '*--lora=[NAME or NAME\:SCALE\: add this LoRA adapter, a stored one or a GGUF file. Again for more]:lora:()' \
        '*--control-vector=[NAME or NAME\:SCALE\: add this control vector, a stored one or a GGUF file. Again for more]:control-vector:()' \
        '*--control-layers=[Add control vectors to the layers A to B alone, counted from 0]:control-layers:()' \
        '*--mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--no-mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--mlock[Keep the model in memory, never swapped out]' \
        '*--no-mlock[Keep the model in memory, never swapped out]' \
        '*--debias=[self\: what prejudice would make likelier becomes less likely; takes the time of an answer more an attribute. (default off)]:debias:_llmasos_choices off self' \
        '*--debias-strength=[How strongly; 0 changes nothing, 10 a little, 100 much. (default 50)]:debias-strength:()' \
        '*--debias-attributes=[What is to be lessened, a known attribute or what somebody does who writes so. Again for more. (default ('\''gender'\'', '\''race'\'', '\''religion'\'', '\''age'\'', '\''insults'\'', '\''threats'\''))]:debias-attributes:()' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references'
      ;;
    'eval compare')
      _arguments -S \
        '*-f+[The text to measure with; without, one that llmasos brings]:f:_files' \
        '*--file=[The text to measure with; without, one that llmasos brings]:file:_files' \
        '*--context=[Tokens that are read together]:context:()' \
        '*--mode=[Score the second half of each chunk, as llama-perplexity does, or every token once, as lm-eval does]:mode:_llmasos_choices chunks rolling' \
        '*--stride=[With rolling\: how far one window is from the next; less takes longer]:stride:()' \
        '*--fail-if=[End with exit code 6 if this is so\: '\''ppl>+2%'\'', '\''kld>0.05'\'', '\''top1<95%'\''. Again for more]:fail-if:()' \
        '*--plot=[Write charts to this file, .svg or .html]:plot:_files' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*-v[Say what was chosen and why, and show the engine'\''s log]' \
        '*--verbose[Say what was chosen and why, and show the engine'\''s log]' \
        '*--threads=[Threads to compute with]:threads:()' \
        '*--gpu-layers=[Layers to put on the GPU; 0 for none]:gpu-layers:()' \
        '*--kv-type=[How the context'\''s keys and values are stored]:kv-type:_llmasos_choices f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' \
        '*--flash-attention[Compute attention in the memory-saving way]' \
        '*--no-flash-attention[Compute attention in the memory-saving way]' \
        '*--batch-size=[Tokens of the prompt that are read at once. (default 512)]:batch-size:()' \
        '*--mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--no-mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--mlock[Keep the model in memory, never swapped out]' \
        '*--no-mlock[Keep the model in memory, never swapped out]' \
        '*--help[Show how it is called]' \
        '*:model:_llmasos_references'
      ;;
    'eval choice')
      _arguments -S \
        '*-f+[Questions, a line of JSON each\: {"question"\: …, "choices"\: \[…\], "answer"\: 0}]:f:_files' \
        '*--file=[Questions, a line of JSON each\: {"question"\: …, "choices"\: \[…\], "answer"\: 0}]:file:_files' \
        '*--task=[A known set\: hellaswag, piqa, arc, mmlu, openbookqa or commonsenseqa]:task:()' \
        '*--data=[A known set'\''s file, or the folder of an unpacked package; without, an installed package]:data:_files' \
        '*--limit=[Take the first N only]:limit:()' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*-v[Say what was chosen and why, and show the engine'\''s log]' \
        '*--verbose[Say what was chosen and why, and show the engine'\''s log]' \
        '*--threads=[Threads to compute with]:threads:()' \
        '*--gpu-layers=[Layers to put on the GPU; 0 for none]:gpu-layers:()' \
        '*--kv-type=[How the context'\''s keys and values are stored]:kv-type:_llmasos_choices f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' \
        '*--flash-attention[Compute attention in the memory-saving way]' \
        '*--no-flash-attention[Compute attention in the memory-saving way]' \
        '*--batch-size=[Tokens of the prompt that are read at once. (default 512)]:batch-size:()' \
        '*--lora=[NAME or NAME\:SCALE\: add this LoRA adapter, a stored one or a GGUF file. Again for more]:lora:()' \
        '*--control-vector=[NAME or NAME\:SCALE\: add this control vector, a stored one or a GGUF file. Again for more]:control-vector:()' \
        '*--control-layers=[Add control vectors to the layers A to B alone, counted from 0]:control-layers:()' \
        '*--mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--no-mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--mlock[Keep the model in memory, never swapped out]' \
        '*--no-mlock[Keep the model in memory, never swapped out]' \
        '*--debias=[self\: what prejudice would make likelier becomes less likely; takes the time of an answer more an attribute. (default off)]:debias:_llmasos_choices off self' \
        '*--debias-strength=[How strongly; 0 changes nothing, 10 a little, 100 much. (default 50)]:debias-strength:()' \
        '*--debias-attributes=[What is to be lessened, a known attribute or what somebody does who writes so. Again for more. (default ('\''gender'\'', '\''race'\'', '\''religion'\'', '\''age'\'', '\''insults'\'', '\''threats'\''))]:debias-attributes:()' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references'
      ;;
    'eval bias')
      _arguments -S \
        '*--set=[What measures\: our own probe, crows-pairs, stereoset, stereoset-next, winobias or bbq]:set:()' \
        '*--data=[A known set'\''s file, or the folder of an unpacked package; without, an installed package]:data:_files' \
        '*--category=[Only this category; again for more]:category:()' \
        '*--limit=[Take the first N only]:limit:()' \
        '*--compare[Each model as it is and with --debias self, and its perplexity]' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*-v[Say what was chosen and why, and show the engine'\''s log]' \
        '*--verbose[Say what was chosen and why, and show the engine'\''s log]' \
        '*--threads=[Threads to compute with]:threads:()' \
        '*--gpu-layers=[Layers to put on the GPU; 0 for none]:gpu-layers:()' \
        '*--kv-type=[How the context'\''s keys and values are stored]:kv-type:_llmasos_choices f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' \
        '*--flash-attention[Compute attention in the memory-saving way]' \
        '*--no-flash-attention[Compute attention in the memory-saving way]' \
        '*--batch-size=[Tokens of the prompt that are read at once. (default 512)]:batch-size:()' \
        '*--lora=[NAME or NAME\:SCALE\: add this LoRA adapter, a stored one or a GGUF file. Again for more]:lora:()' \
        '*--control-vector=[NAME or NAME\:SCALE\: add this control vector, a stored one or a GGUF file. Again for more]:control-vector:()' \
        '*--control-layers=[Add control vectors to the layers A to B alone, counted from 0]:control-layers:()' \
        '*--mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--no-mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--mlock[Keep the model in memory, never swapped out]' \
        '*--no-mlock[Keep the model in memory, never swapped out]' \
        '*--debias=[self\: what prejudice would make likelier becomes less likely; takes the time of an answer more an attribute. (default off)]:debias:_llmasos_choices off self' \
        '*--debias-strength=[How strongly; 0 changes nothing, 10 a little, 100 much. (default 50)]:debias-strength:()' \
        '*--debias-attributes=[What is to be lessened, a known attribute or what somebody does who writes so. Again for more. (default ('\''gender'\'', '\''race'\'', '\''religion'\'', '\''age'\'', '\''insults'\'', '\''threats'\''))]:debias-attributes:()' \
        '*--help[Show how it is called]' \
        '*:model:_llmasos_references'
      ;;
    'eval steer')
      _arguments -S \
        '*-f+[Pairs of prompts, a line of JSON each\: {"positive"\: …, "negative"\: …}; without, ours against prejudice]:f:_files' \
        '*--file=[Pairs of prompts, a line of JSON each\: {"positive"\: …, "negative"\: …}; without, ours against prejudice]:file:_files' \
        '*--as=[Store it under this name]:as:()' \
        '*-o+[Write this file]:o:_files' \
        '*--output=[Write this file]:output:_files' \
        '*--method=[The mean difference of the pairs, or the direction in which the differences lie most]:method:_llmasos_choices mean pca' \
        '*--json[Print JSON]' \
        '*--offline[Never use the network]' \
        '*-v[Say what was chosen and why, and show the engine'\''s log]' \
        '*--verbose[Say what was chosen and why, and show the engine'\''s log]' \
        '*--threads=[Threads to compute with]:threads:()' \
        '*--gpu-layers=[Layers to put on the GPU; 0 for none]:gpu-layers:()' \
        '*--kv-type=[How the context'\''s keys and values are stored]:kv-type:_llmasos_choices f16 bf16 f32 q8_0 q5_1 q5_0 q4_1 q4_0' \
        '*--flash-attention[Compute attention in the memory-saving way]' \
        '*--no-flash-attention[Compute attention in the memory-saving way]' \
        '*--batch-size=[Tokens of the prompt that are read at once. (default 512)]:batch-size:()' \
        '*--lora=[NAME or NAME\:SCALE\: add this LoRA adapter, a stored one or a GGUF file. Again for more]:lora:()' \
        '*--control-vector=[NAME or NAME\:SCALE\: add this control vector, a stored one or a GGUF file. Again for more]:control-vector:()' \
        '*--control-layers=[Add control vectors to the layers A to B alone, counted from 0]:control-layers:()' \
        '*--mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--no-mmap[Map the file into memory instead of reading it. (default on)]' \
        '*--mlock[Keep the model in memory, never swapped out]' \
        '*--no-mlock[Keep the model in memory, never swapped out]' \
        '*--help[Show how it is called]' \
        '1:model:_llmasos_references'
      ;;
    'eval list')
      _arguments -S \
        '*--kind=[Only those of one subcommand]:kind:()' \
        '*--plot[Show the latest of each model as bars]' \
        '*--html=[Write a report to this file, which needs no other]:html:_files' \
        '*--json[Print JSON]' \
        '*--help[Show how it is called]'
      ;;
    'eval show')
      _arguments -S \
        '*--html=[Write a report to this file, which needs no other]:html:_files' \
        '*--json[Print JSON]' \
        '*--help[Show how it is called]' \
        '1:id:()'
      ;;
  esac
}

# Completes the commands $2... (NAME:MEANING) below the command $1, and what follows them.
_llmasos_group() {
  local group=$1
  local -a commands=("${@:2}")
  _arguments -C '(- *)--help[Show how it is called]' '1: :->command' '*:: :->rest'
  case $state in
    command) _describe -t commands command commands ;;
    rest)
      curcontext="${curcontext%:*:*}:llmasos-$group-$words[1]:"
      words[1]="$group $words[1]"
      _llmasos_grammar
      ;;
  esac
}

_llmasos_choices() { compadd -M 'm:{[:lower:][:upper:]}={[:upper:][:lower:]}' "$@" }

_llmasos_models() { _llmasos_names models "$@" }

_llmasos_tasks() { _llmasos_names tasks "$@" }

_llmasos_references() {
  if [[ $PREFIX == [./\~]* ]]; then
    _alternative 'models:model file:_path_files -g "*.(#i)gguf(-.)"' 'folders:folder:_path_files -/'
  else
    _llmasos_names references "$@"
  fi
}

_llmasos_names() {
  local kind=$1
  local -a names=(${(f)"$($program --complete $kind 2>/dev/null)"})
  shift
  compadd "$@" -M 'm:{[:upper:]}={[:lower:]}' -a names
}

if [[ $funcstack[1] == _llmasos ]]; then
  _llmasos "$@"
else
  compdef _llmasos llmasos
fi
