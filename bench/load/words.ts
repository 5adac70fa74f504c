/** Common English words: nearly every BPE vocabulary holds each of them, with its leading space, as one token. */
export const commonWords: readonly string[] = `
time year people way day man thing woman life child world school state family student group country problem hand
part place case week company system program question work government number night point home water room mother area
money story fact month lot right study book eye job word business issue side kind head house service friend father
power hour game line end member law car city community name president team minute idea body information back parent
face others level office door health person art war history party result change morning reason research girl guy
moment air teacher force education foot boy age policy music market sense nation plan college interest death course
someone experience class control care field development role effort rate heart drug show leader light voice wife
police mind price report decision son view town road arm tree wall food ground table matter window model form event
season paper space summer winter river stone bridge garden horse letter doctor kitchen morning yellow green silver
small large early young important few public bad same able good new first last long great little own other old high
different next open strong possible whole free short easy simple clear recent certain personal red difficult ready
left white black poor natural final main nice huge happy major hard fine common similar low hot cold dark deep
go make know take see come think look want give use find tell ask seem feel try leave call keep let begin help
talk turn start might play run move live believe bring happen write provide sit stand lose pay meet include
continue set learn lead understand watch follow stop create speak read allow add spend grow walk win offer remember
love consider appear buy wait serve die send expect build stay fall cut reach kill remain
`
  .trim()
  .split(/\s+/)
  .filter((word, index, all) => all.indexOf(word) === index);
