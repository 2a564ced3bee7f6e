/*
 * Runs a declarative Jenkinsfile without Jenkins, by the Groovy that Jenkins has: stages in order,
 * `sh` as a process of its own, parallel branches as threads that failFast interrupts, `input` as a
 * wait for a line in a file. A word that is not here is refused, as is what Jenkins' own validator
 * refuses: a stage with two bodies or none, `sh` without an agent, an unknown parameter or credential.
 * What only a controller has (queues, plugins' pages, the clock of timeouts) is not acted on.
 *
 * java … groovy.ui.GroovyMain pipeline.groovy JENKINSFILE SETTINGS.json
 */
import groovy.json.JsonSlurper
import java.nio.file.Files
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.stream.Collectors

class BuildFailed extends RuntimeException { BuildFailed(String why) { super(why) } }
class BuildAborted extends RuntimeException { BuildAborted(String why) { super(why) } }

class Build {
    static Map settings
    static Map<String, String> params = [:]
    static Map<String, String> global = Collections.synchronizedMap([:])

    static say(String text) { synchronized (System.out) { println text; System.out.flush() } }
    static refuse(String why) { throw new IllegalArgumentException(why) }
    static credential(String id) {
        if (!settings.credentials.containsKey(id)) refuse("There is no credential '$id'.")
        settings.credentials[id]
    }
}

class CurrentBuild { def getBuildCauses() { [[shortDescription: Build.settings.cause]] } }

/** What surrounds a step: variables, and whether there is an agent. */
class Surroundings {
    Map<String, String> own = [:]
    boolean hasAgent = false

    Surroundings with(Map more, boolean agent = hasAgent) { new Surroundings(own: own + more, hasAgent: agent) }
    Map<String, String> all() { Build.params + Build.settings.environment + own + Build.global }
    def find(String name) {
        def known = all()
        if (!known.containsKey(name)) Build.refuse("There is no variable '$name'.")
        known[name]
    }
}

/** `env` in an expression. */
class Variables {
    Surroundings around
    def propertyMissing(String name) { around.all()[name] }
    void propertyMissing(String name, value) { Build.global[name] = value as String }
}

abstract class Words {
    def run(Closure body) {
        def copy = body.rehydrate(this, body.owner, body.thisObject)
        copy.resolveStrategy = Closure.DELEGATE_ONLY
        copy.call()
    }
    def methodMissing(String name, arguments) { Build.refuse("'$name' is no word of ${getClass().simpleName}.") }
}

class Steps extends Words {
    Surroundings around

    private inside(Map more, boolean agent, Closure body) { new Steps(around: around.with(more, agent)).run(body) }
    def getEnv() { new Variables(around: around) }
    def getParams() { Build.params }
    def getCurrentBuild() { new CurrentBuild() }
    def getScm() { 'scm' }
    def propertyMissing(String name) { around.find(name) }

    def script(Closure body) { run(body) }
    def echo(String text) { Build.say(text) }
    def checkout(what) { needAgent('checkout') }
    def node(String label, Closure body) { inside([:], true, body) }
    def junit(Map options) { needAgent('junit') }
    def archiveArtifacts(Map options) {
        needAgent('archiveArtifacts')
        def folder = new File(Build.settings.workspace, new File(options.artifacts).parent).toPath()
        def found = Files.newDirectoryStream(folder, new File(options.artifacts).name).withCloseable { it*.fileName }
        if (!found) throw new BuildFailed("No artifacts found that match \"${options.artifacts}\".")
        found.sort().each { Build.say("archived $it") }
    }
    def usernamePassword(Map binding) { binding }
    def withCredentials(List bindings, Closure body) {
        def more = [:]
        bindings.each {
            def held = Build.credential(it.credentialsId)
            more[it.usernameVariable] = held.username
            more[it.passwordVariable] = held.password
        }
        inside(more, around.hasAgent, body)
    }
    def sh(String text) { sh(script: text) }
    def sh(Map options) {
        needAgent('sh')
        def builder = new ProcessBuilder('/bin/sh', '-xe', '-c', options.script as String)
        builder.directory(new File(Build.settings.workspace))
        builder.environment().putAll(around.all().findAll { it.value != null })
        builder.redirectErrorStream(!options.returnStdout)
        def process = builder.start()
        def errors = Thread.start { process.errorStream.eachLine { Build.say(it) } }
        def printed = new StringBuilder()
        def output = Thread.start {
            process.inputStream.eachLine { options.returnStdout ? printed << "$it\n" : Build.say(it) }
        }
        int code
        try {
            code = process.waitFor()
            [errors, output]*.join()
        } catch (InterruptedException ended) {
            process.descendants().collect(Collectors.toList())*.destroy()
            process.destroy()
            process.waitFor()
            throw new BuildAborted('ended: another branch failed')
        }
        if (code) throw new BuildFailed("script returned exit code $code")
        printed.toString()
    }
    private needAgent(String word) {
        if (!around.hasAgent) Build.refuse("'$word' needs an agent.")
    }
}

/** `environment`: assignments, each of which may use the ones before. */
class Environment extends Words {
    Surroundings around
    def getEnv() { new Variables(around: around) }
    def getCurrentBuild() { new CurrentBuild() }
    def credentials(String id) { Build.credential(id) }
    def propertyMissing(String name) { around.find(name) }
    void propertyMissing(String name, value) { around.own[name] = value as String }
}

class Parameters extends Words {
    List<Map> all = []
    def string(Map one) { all << one + [default: one.defaultValue] }
    def choice(Map one) { all << one + [default: one.choices[0]] }
}

class Options extends Words {
    def timestamps() { }
    def timeout(Map how) { }
    def disableConcurrentBuilds() { }
    def buildDiscarder(how) { }
    def logRotator(Map how) { how }
}

class Input extends Words {
    static PATIENCE = 90_000
    Map<String, String> said = [:]
    def message(String text) { said.message = text }
    def ok(String text) { said.ok = text }
    def submitter(String who) { said.submitter = who }
    def submitterParameter(String name) { said.submitterParameter = name }

    /** Waits for `proceed NAME` or `abort NAME`. */
    Map<String, String> ask() {
        Build.say("input: ${said.message} [${said.ok}] (${said.submitter})")
        def answers = new File(Build.settings.answers)
        try {
            def until = System.currentTimeMillis() + PATIENCE
            while (!answers.exists() || !answers.text.endsWith('\n')) {
                if (System.currentTimeMillis() > until) throw new BuildAborted('nobody answered')
                Thread.sleep(20)
            }
        } catch (InterruptedException ended) {
            throw new BuildAborted('ended: another branch failed')
        }
        def (answer, who) = answers.text.trim().split(' ')
        if (answer != 'proceed') throw new BuildAborted("$who said $answer")
        said.submitterParameter ? [(said.submitterParameter): who] : [:]
    }
}

class When extends Words {
    boolean holds = true
    def buildingTag() { holds = holds && Build.settings.environment.containsKey('TAG_NAME') }
}

class Agents extends Words {
    String found
    def getParams() { Build.params }
    def label(String text) { found = text }
}

class Post extends Words {
    Map<String, Closure> conditions = [:]
    def always(Closure body) { conditions.always = body }
    def unsuccessful(Closure body) { conditions.unsuccessful = body }

    void act(Surroundings around, boolean isGood) {
        conditions.each { name, body ->
            if (name == 'always' || !isGood) new Steps(around: around).run(body)
        }
    }
}

/** A pipeline or a stage: what is said about it, then run. */
class Stage extends Words {
    String name = ''
    def agentLabel = null
    boolean isFailFast = false
    Map<String, Closure> parts = [:]
    List<Stage> branches = []
    static BODIES = ['steps', 'stages', 'parallel']

    private keep(String part, Closure body) {
        if (parts.containsKey(part)) Build.refuse("'$part' stands twice in '$name'.")
        parts[part] = body
    }
    def agent(Closure body) { keep('agent', body); agentLabel = 'to be found' }
    def agent(String none) { if (none != 'none') Build.refuse("agent '$none'"); agentLabel = 'none' }
    def getNone() { 'none' }
    def failFast(boolean yes) { isFailFast = yes }
    def parameters(Closure body) { keep('parameters', body) }
    def options(Closure body) { keep('options', body) }
    def environment(Closure body) { keep('environment', body) }
    def input(Closure body) { keep('input', body) }
    def when(Closure body) { keep('when', body) }
    def post(Closure body) { keep('post', body) }
    def steps(Closure body) { keep('steps', body) }
    def stages(Closure body) { keep('stages', body); run(body) }
    def parallel(Closure body) { keep('parallel', body); run(body) }
    def stage(String title, Closure body) {
        def one = new Stage(name: title)
        one.run(body)
        one.check()
        branches << one
    }
    void check() {
        def bodies = parts.keySet().findAll { it in BODIES }
        if (bodies.size() != 1) Build.refuse("Stage '$name' has ${bodies ?: 'no body'}, one of $BODIES is wanted.")
        if (isFailFast && !parts.parallel) Build.refuse("failFast of '$name' is for parallel stages.")
    }

    void execute(Surroundings outer) {
        if (name) Build.say("stage: $name")
        if (parts.agent) Build.say("agent: ${new Agents().with { run(parts.agent); found }}")
        if (parts.options) new Options().run(parts.options)
        def around = outer.with([:])
        if (parts.environment) new Environment(around: around).run(parts.environment)
        def isGood = false
        try {
            if (parts.input) around = around.with(new Input().with { run(parts.input); ask() })
            around = around.with([:], agentLabel == 'none' ? false : agentLabel ? true : around.hasAgent)
            if (isWanted()) {
                perform(around)
            } else {
                Build.say("stage: $name is skipped")
            }
            isGood = true
        } finally {
            if (parts.post) new Post().with { run(parts.post); act(around, isGood) }
        }
    }
    private boolean isWanted() {
        parts.when == null || new When().with { run(parts.when); holds }
    }
    private void perform(Surroundings around) {
        if (parts.steps) new Steps(around: around).run(parts.steps)
        else if (parts.stages) branches.each { it.execute(around) }
        else performTogether(around)
    }
    private void performTogether(Surroundings around) {
        def faults = new ConcurrentLinkedQueue<Throwable>()
        def threads = []
        branches.each { branch ->
            threads << new Thread({
                try {
                    branch.execute(around)
                } catch (Throwable fault) {
                    Build.say("branch ${branch.name}: ${fault.message}")
                    faults << fault
                    if (isFailFast) threads.findAll { it != Thread.currentThread() }*.interrupt()
                }
            })
        }
        threads*.start()
        threads*.join()
        if (faults) throw faults.peek()
    }
}

Build.settings = new JsonSlurper().parse(new File(args[1]))
def top = new Stage()
new GroovyShell(new Binding(pipeline: { Closure body -> top.run(body) })).evaluate(new File(args[0]))
if (top.agentLabel == null || !top.parts.stages) Build.refuse('A pipeline has an agent and stages.')
def declared = top.parts.parameters ? new Parameters().with { run(top.parts.parameters); all } : []
declared.each { Build.params[it.name] = it.default }
Build.settings.parameters.each { name, value ->
    def one = declared.find { it.name == name }
    if (!one) Build.refuse("There is no parameter '$name'.")
    if (one.choices && !(value in one.choices)) Build.refuse("'$value' is no choice of '$name'.")
    Build.params[name] = value
}
def result = 'SUCCESS'
try {
    top.execute(new Surroundings())
} catch (BuildFailed fault) {
    Build.say(fault.message)
    result = 'FAILURE'
} catch (BuildAborted fault) {
    Build.say(fault.message)
    result = 'ABORTED'
}
Build.say("result: $result")
