// The jobs, for the Job DSL plugin. REPOSITORY and the secrets come from casc.yaml. Every secret is
// kept by the folder whose jobs need it: builds of a branch, whose Jenkinsfile anybody may have
// written, find none but the one that reads the repository.
final CREDENTIALS = 'com.cloudbees.hudson.plugins.folder.properties.FolderCredentialsProvider_-FolderCredentialsProperty'
final PASSWORD = 'com.cloudbees.plugins.credentials.impl.UsernamePasswordCredentialsImpl'
final TEXT = 'org.jenkinsci.plugins.plaincredentials.impl.StringCredentialsImpl'

// Job DSL has no words for a folder's secret texts, so they are written as Jenkins keeps them.
def keep = { folder, kept ->
    def properties = folder.get('properties')[0] ?: folder.appendNode('properties')
    def entry = properties
        .appendNode(CREDENTIALS)
        .appendNode('domainCredentialsMap', [class: 'hudson.util.CopyOnWriteMap$Hash'])
        .appendNode('entry')
    entry.appendNode('com.cloudbees.plugins.credentials.domains.Domain').appendNode('specifications')
    def list = entry.appendNode('java.util.concurrent.CopyOnWriteArrayList')
    kept.each { kind, id, what, values ->
        def one = list.appendNode(kind)
        one.appendNode('scope', 'GLOBAL')
        one.appendNode('id', id)
        one.appendNode('description', what)
        values.each { name, value -> one.appendNode(name, value) }
    }
}
def sealed = { hudson.util.Secret.fromString(it).encryptedValue }

[
    [
        name: 'learnloop',
        what: 'Checks, tests and packages every branch.',
        found: { gitBranchDiscovery() },
        kept: [],
    ],
    [
        name: 'packages',
        what: 'Publishes the packages of a tag that is built.',
        found: { gitTagDiscovery() },
        kept: [
            [PASSWORD, 'package-repository', 'Uploads packages and reads them.',
             [username: PACKAGE_REPOSITORY_USERNAME, password: sealed(PACKAGE_REPOSITORY_PASSWORD)]],
        ],
    ],
].each { job ->
    multibranchPipelineJob(job.name) {
        description(job.what)
        branchSources {
            branchSource {
                source {
                    git {
                        id(job.name)
                        remote(REPOSITORY)
                        credentialsId('repository')
                        traits(job.found)
                    }
                }
            }
        }
        factory {
            workflowBranchProjectFactory {
                scriptPath('jenkins/ci.Jenkinsfile')
            }
        }
        orphanedItemStrategy {
            discardOldItems {
                daysToKeep(30)
            }
        }
        configure { keep(it, job.kept) }
    }
}

folder('release') {
    description('What callers get. Its agents take these jobs alone, and these secrets are nobody else\'s.')
    configure {
        keep(it, [
            [TEXT, 'learnloop-ledger', 'The ledger\'s URL, with its password.', [secret: sealed(LEDGER)]],
            [TEXT, 'learnloop-mlflow', 'The registry\'s URL, with its password.', [secret: sealed(MLFLOW)]],
            [TEXT, 'learnloop-serving-token', 'The bearer token of the model servers.',
             [secret: sealed(SERVING_TOKEN)]],
        ])
    }
}

[
    promote: 'Puts a version of a model into service.',
    deploy : 'Changes an environment.',
].each { name, what ->
    pipelineJob("release/${name}") {
        description(what)
        definition {
            cpsScm {
                lightweight(true)
                scriptPath("jenkins/${name}.Jenkinsfile")
                scm {
                    git {
                        branch('refs/heads/main') // a tag of this name is not meant
                        remote {
                            url(REPOSITORY)
                            credentials('repository')
                        }
                    }
                }
            }
        }
    }
}
